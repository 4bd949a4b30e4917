"""The repository as data: its files, its modules' imports. For the tests that keep the tree in order."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("log", "functions", "actors", "gateway", "cluster")
_DERIVED = frozenset({"build", "node_modules", "dist", "_generated", "__pycache__"})


def files_below(*folders: str, suffix: str) -> list[Path]:
    """Files that are written by hand, sorted, relative to the root."""
    found = []
    for folder in folders:
        for parent, below, names in os.walk(ROOT / folder):
            below[:] = set(below) - _DERIVED  # not walked into: node_modules is large
            found += [Path(parent, name).relative_to(ROOT) for name in names if name.endswith(suffix)]
    return sorted(found)


@cache
def product_modules() -> list[Path]:
    """Every Python file that is shipped."""
    return files_below(*ROOMS, suffix=".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def absolute_imports(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports without a leading dot, wherever in the file."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported_modules(path: Path) -> frozenset[str]:
    """Absolute and relative imports of a file, both as dotted names from the root."""
    relative = (
        ".".join([*path.parts[: -node.level], *([node.module] if node.module else []), alias.name])
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    )
    return frozenset([*absolute_imports(path), *relative])
