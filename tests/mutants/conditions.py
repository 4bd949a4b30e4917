"""Every single condition of a Python file, and the texts of the file with one of them removed.

A *mutant* is the file with one condition made constant: an `if`, `elif`, `while`, conditional expression or
comprehension filter that always holds or never does, or one operand of an `and`/`or` dropped.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`text` is the whole file; `name` says where and what, as `committer.py:120 never: count and ...`."""

    name: str
    text: str


def mutants_of(file_name: str, source: str) -> Iterator[Mutant]:
    """All mutants of a file, in the order of their lines."""
    for node, replacement, what in sorted(_changes(ast.parse(source)), key=lambda change: change[0].lineno):
        condition = ast.get_source_segment(source, node) or ""
        text = _replaced(source, node, replacement)
        ast.parse(text)  # a mutant that is no Python proves nothing
        yield Mutant(f"{file_name}:{node.lineno} {what}: {' '.join(condition.split())}", text)


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr, str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.If(test=test) | ast.IfExp(test=test):
                yield test, "True", "always"
                yield test, "False", "never"
            case ast.While(test=test) if not isinstance(test, ast.Constant):
                yield test, "False", "never"  # always would only hang
            case ast.comprehension(ifs=conditions):
                for condition in conditions:
                    yield condition, "True", "always"
            case ast.BoolOp(op=operator, values=operands):
                neutral = "True" if isinstance(operator, ast.And) else "False"
                for operand in operands:
                    yield operand, neutral, "dropped"


def _replaced(source: str, node: ast.expr, replacement: str) -> str:
    """The source with the characters of `node` replaced; its lines stay where they are."""
    lines = source.splitlines(keepends=True)
    start = _offset(lines, node.lineno, node.col_offset)
    end = _offset(lines, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    removed_lines = source[start:end].count("\n")
    if removed_lines:
        replacement = f"({replacement}{' ' * 4}{chr(10) * removed_lines})"
    return source[:start] + replacement + source[end:]


def _offset(lines: list[str], line: int, column_bytes: int) -> int:
    """Characters before a place that `ast` gives in lines and bytes."""
    before = sum(len(text) for text in lines[: line - 1])
    return before + len(lines[line - 1].encode()[:column_bytes].decode())
