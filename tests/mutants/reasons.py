"""Why a mutant may survive. Keys are the mutant's name without its line: `file what: condition`.

Where only the cost differs, a test may count the work (tests/actors/test_view_work.py).
"""

from __future__ import annotations

REASONS: dict[str, str] = {
    "log/turns.py never: not self.places.isdisjoint(other.places)": (
        "a shortcut: places that are equal overlap in the line below it too, after all pairs were compared"
    ),
    "log/turns.py never: len(keys) > 2": (
        "a shortcut: of thousands of words in order those of a place are looked up; comparing finds them"
    ),
}
