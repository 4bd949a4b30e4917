"""Why a mutant may survive. Keys are the mutant's name without its line: `file what: condition`.

Where only the cost differs, a test may count the work (tests/actors/test_view_work.py).
"""

from __future__ import annotations

REASONS: dict[str, str] = {
    "actors/index_view.py always: has_pieces": (
        "a shortcut: in a view without pieces no entry names any, and none goes"
    ),
    "actors/view_changes.py dropped: not pieces.is_empty": (
        "a shortcut: in a view without pieces no row names any, and none goes"
    ),
    "actors/view_pieces.py always: len(value) > VIEW_VALUE_BYTES_MAX": (
        "a shortcut: the row in a small entry fits, and is packed into the same entry again"
    ),
    "actors/view_layout.py never: not key_bytes": (
        "a shortcut for ordinary keys: cutting nothing off a content gives the same"
    ),
    "log/turns.py never: not self.places.isdisjoint(other.places)": (
        "a shortcut: places that are equal overlap in the line below it too, after all pairs were compared"
    ),
    "actors/hot_places.py dropped: not places.named": (
        "a shortcut: where no place has a name the arguments need not be parsed"
    ),
    "log/turns.py never: len(keys) > 2": (
        "a shortcut: of thousands of words in order those of a place are looked up; comparing finds them"
    ),
}
