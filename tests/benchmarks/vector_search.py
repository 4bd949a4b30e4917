"""Vector search: building an index, searching it; run as a module.

python -m tests.benchmarks.vector_search [documents] [dimensions]
"""

from __future__ import annotations

import random
import sys
import time

from functions.search.vector_index import VectorIndex
from functions.snapshot import Row
from log import values

from .text_search import megabytes, say

SEARCHES, KINDS = 100, 20


def main(documents: int, dimensions: int) -> None:
    rng = random.Random(1)
    index, before, milliseconds = VectorIndex(("v",), dimensions, (("kind",),)), megabytes(), []
    for number in range(documents):
        vector = [rng.gauss(0, 1) for _ in range(dimensions)]
        encoded = values.dumps({"v": vector, "kind": float(number % KINDS)})
        started = time.process_time()
        index.put(b"%d" % number, index.entry_of(Row(b"", 1, len(encoded), encoded)))
        milliseconds.append((time.process_time() - started) * 1e3)
    print(f"{documents} vectors of {dimensions}: {megabytes() - before:.0f} MB")
    say("putting one in", milliseconds)
    term = index.entry_of(Row(b"", 1, 0, values.dumps({"kind": 0.0}))).filters[0]
    for what, any_of in (("the nearest ten", None), ("the nearest ten of one in twenty", [(0, term)])):
        times = []
        for _ in range(SEARCHES):
            asked = [rng.gauss(0, 1) for _ in range(dimensions)]
            started = time.perf_counter()
            assert len(index.nearest(asked, 10, any_of)) == 10
            times.append((time.perf_counter() - started) * 1e3)
        say(what, times)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:] or ("20000", "768")))
