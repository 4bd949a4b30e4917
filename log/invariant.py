"""What must hold, said where it binds and checked in production.

`assert` disappears under `python -O` and, inside an actor, would be answered to a caller while the
actor lives on. An `InvariantViolation` is a defect of ours: the shell that meets one stops its process.
"""

from __future__ import annotations


class InvariantViolation(Exception):
    """A promise of ours does not hold. Never answered to a caller: the owning process stops."""


def invariant(holds: bool, claim: str, **facts: object) -> None:
    """Check one positive claim; `facts` are what a reader of the crash report needs to know."""
    if not holds:
        shown = ", ".join(f"{name}={value!r}" for name, value in facts.items())
        raise InvariantViolation(f"{claim} ({shown})")
