"""`python -m tests sim [first-last | seed] [--show]`: play histories, say which promise each one breaks.

Prints a line per failing seed and one line at the end; ends with 1 if a promise was broken. A seed is the
whole input: the same seed gives the same history, digest and all, on any machine. `--show` prints what
happened, event by event, and all broken promises.
"""

from __future__ import annotations

import gc
import sys
import time

from .checkers import violations
from .history import History
from .world import run_history

DEFAULT_SEEDS = "1-1000"


def main(arguments: list[str]) -> int:
    shows = "--show" in arguments
    seeds = [argument for argument in arguments if argument != "--show"]
    try:
        first, last = parse_seeds(seeds[0] if seeds else DEFAULT_SEEDS)
    except ValueError:
        print(f"{seeds[0]!r} is no range of seeds: say 1-1000, or 17", file=sys.stderr)
        return 2
    gc.freeze()  # what is imported stays: do not walk it again and again
    gc.set_threshold(20_000, 20, 20)
    started, steps = time.process_time(), []
    failed = 0
    for seed in range(first, last + 1):
        history = run_history(seed)
        if shows:
            _show(history)
        steps.append(history.steps)
        broken = violations(history)
        for name, contradiction in list(broken.items())[:1]:  # the deepest; the others follow from it
            failed += 1
            print(f"seed {seed}: {name}: {contradiction}", flush=True)
    seconds = time.process_time() - started
    count = len(steps)
    print(
        f"{count - failed} of {count} histories held "
        f"({sum(steps) // count} steps on average, {min(steps)} at least; {seconds:.0f} s of CPU)"
    )
    return 1 if failed else 0


def parse_seeds(text: str) -> tuple[int, int]:
    """ "3-9" or "3"; ValueError for anything else, and for an empty range."""
    first, _, last = text.partition("-")
    numbers = int(first), int(last or first)
    if numbers[0] > numbers[1]:
        raise ValueError(text)
    return numbers


def _show(history: History) -> None:
    for seconds, event in history.events:
        print(f"{seconds:10.6f}  {event}")
    for name, contradiction in violations(history).items():
        print(f"broken: {name}: {contradiction}")
    print(f"digest {history.digest()}, {history.steps} steps, {len(history.records)} records")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
