"""The long run: `python -m tests.fuzz [--requests 100000] [--seed 1]`.

Prints what was answered, and each violation with the number that makes its request again; status 1 if there
is one. `--number N` sends that one alone, and shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import orjson

from .requests import Known, request_of
from .rules import fault_of
from .site import Answered, FuzzSite, known_of

HEAL_EVERY = 500
FAULTS_SHOWN_MAX = 20


async def run(folder: Path, seed: int, numbers: range) -> tuple[Counter[str], list[str]]:
    """(how often each status and code came, the violations)."""
    told: Counter[str] = Counter()
    faults: list[str] = []
    async with FuzzSite(folder) as site:
        known = await known_of(site)
        for number in numbers:
            if number % HEAL_EVERY == 0:
                await site.heal()
                known = await known_of(site)
            answered = await _one(site, known, seed, number, faults)
            told[_kind(answered)] += 1
            if len(faults) >= FAULTS_SHOWN_MAX:
                break
        if not await site.works():
            faults.append("after all of it the deployment does not work any more")
        faults += [f"a defect was reported: {defect!r}" for defect in site.defects]
    return told, faults


async def _one(site: FuzzSite, known: Known, seed: int, number: int, faults: list[str]) -> Answered:
    request = request_of(seed, number, known)
    answered = await site.send(request)
    fault = fault_of(request, answered)
    if fault is not None:
        faults.append(f"request {number} of seed {seed}: {fault}\n    {request}\n    {request.body[:300]!r}")
    return answered


def _kind(answered: Answered) -> str:
    code = ""
    if answered.status is not None and answered.status >= 400 and answered.body.startswith(b"{"):
        try:
            code = str(orjson.loads(answered.body).get("code", ""))
        except orjson.JSONDecodeError:
            code = "?"
    return f"{answered.status} {code.partition(':')[0][:40]}".strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="only this one")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR if options.number is not None else logging.CRITICAL)
    numbers = range(options.requests) if options.number is None else range(options.number, options.number + 1)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told, faults = asyncio.run(run(Path(folder), options.seed, numbers))
    print(f"seed {options.seed}: {sum(told.values())} requests in {time.monotonic() - started:.0f} s")
    for kind, count in told.most_common():
        print(f"{count:8} {kind}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
