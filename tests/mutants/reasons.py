"""Why a mutant may survive. Keys are the mutant's name without its line: `file what: condition`.

None does at present: where only the cost differed, a test counts the work (tests/actors/test_view_work.py),
and conditions that changed nothing are gone.
"""

from __future__ import annotations

REASONS: dict[str, str] = {}
