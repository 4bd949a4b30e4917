"""The blocks of a documentation page, for tests that follow it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str

    @property
    def path(self) -> str | None:
        """Where a file belongs whose first line says so, as a comment."""
        found = re.match(r"# (/\S+)\n", self.text)
        return found[1] if found else None


def sections(page: Path) -> dict[str, list[Block]]:
    """The blocks below each heading of the second level, in order."""
    parts = page.read_text().split("\n## ")[1:]
    return {part.partition("\n")[0]: [Block(*found) for found in _BLOCK.findall(part)] for part in parts}
