"""Hostile functions in a row: `python -m tests.benchmarks.hostile [COUNT]`, 10,000 without a count.

Prints the memory that is this process's alone as it goes. Ends with an error at the first function that
leaves something to the next one; whether the memory grows is for the reader to see.
"""

from __future__ import annotations

import random
import sys
import time

from log.limits import MIB

from ..support.hostile import HostileRow, handles, private_bytes

COUNT = 10_000
WARM_CALLS = 500
REPORTS = 10


def main(count: int = COUNT) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    row = HostileRow(seed)
    for _ in range(WARM_CALLS):
        row.step()
    print(f"{WARM_CALLS:>6} to warm up  {facts()}")
    started = time.perf_counter()
    for number in range(1, count + 1):
        row.step()
        if number % max(1, count // REPORTS) == 0:
            print(f"{number:>6} calls       {facts()}", flush=True)
    rate = count / (time.perf_counter() - started)
    print(f"{rate:.1f} calls per second, and after each a look at what it left")
    for ending, times in sorted(row.endings.items()):
        print(f"{times:>6}  {ending}")


def facts() -> str:
    files, threads = handles()
    return f"{private_bytes() / MIB:6.1f} MiB private, {files} files, {threads} threads"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
