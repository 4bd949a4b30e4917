"""What a reviewer should not have to say: lengths, leftovers, names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from .support.tree import ROOT, files_below, parsed, product_modules

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
LINE_LENGTH_MAX = 110
FILE_LENGTH_MAX = 400
FILE_LENGTH_EVER = 600
LONG_FILES = {
    "log/limits.py": "the one place of all limits, which relate to one another",
    "gateway/sync_session.py": "one pure machine: all branches on its state in one place",
    "tests/functions/test_prelude.py": "one check per platform API",
    "tests/gateway/test_http.py": "one conversation per route",
}
"""Files longer than FILE_LENGTH_MAX, each with the reason why it is not two."""

TEST_NAME_WORDS_MIN = 3
"""Behind `test`: a subject, a verb, and what about it."""
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|tmp|root|home|opt)/\w")
PRINTERS = {"functions/engine/build.py"}
"""Command-line tools whose output is their purpose. (`cluster/cli.py` uses typer.)"""

PYTHON_FILES = [
    *product_modules(),
    *files_below("tests", suffix=".py"),
    *files_below("docs", suffix=".py"),
]
TEXT_FILES = [
    *PYTHON_FILES,
    *(path for ending in (".md", ".ts", ".css", ".html") for path in files_below("docs", suffix=ending)),
    *(path for ending in (".c", ".h", ".js") for path in files_below("functions", suffix=ending)),
    *files_below("tests", suffix=".mjs"),
    Path("README.md"),
    Path("Makefile"),
    Path("pyproject.toml"),
]


PRAGMA = re.compile(r"\s+# (type: ignore|noqa).*")


def test_every_line_is_short_enough() -> None:
    too_long = [
        f"{path}:{number}"
        for path in PYTHON_FILES
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if len(PRAGMA.sub("", line)) > LINE_LENGTH_MAX and " " in line.strip()  # else it cannot be broken
    ]
    assert not too_long


def test_every_file_is_short_enough_or_says_why() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in PYTHON_FILES}
    allowed = dict.fromkeys(lengths, FILE_LENGTH_MAX) | dict.fromkeys(LONG_FILES, FILE_LENGTH_EVER)
    too_long = {path: length for path, length in lengths.items() if length > allowed[path]}
    assert not too_long, "find the seam"
    stale = {path for path in LONG_FILES if lengths.get(path, 0) <= FILE_LENGTH_MAX}
    assert not stale, "these need no exception any more"


def test_no_text_holds_leftovers_or_paths_of_a_machine() -> None:
    found = []
    for path in TEXT_FILES:
        text = (ROOT / path).read_text()
        if path.name != Path(__file__).name:  # it names what it looks for
            found += [f"{path}: {match[0]}" for match in LEFTOVER.finditer(text)]
        found += [f"{path}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert not found


def test_product_code_never_prints_and_never_breaks_into_a_debugger() -> None:
    offending = [
        f"{path}:{node.lineno} {node.func.id}"
        for path in product_modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "breakpoint" or (node.func.id == "print" and str(path) not in PRINTERS)
    ]
    assert not offending


def test_no_variable_is_called_log_and_loggers_are_named_after_their_module() -> None:
    """`log` is our noun; Python's logging is always `logging.getLogger(__name__)`."""
    offending = [
        f"{path}:{node.lineno}"
        for path in product_modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "log"
    ]
    assert not offending
    named = re.compile(r"getLogger\((?!__name__\))")
    assert not [str(path) for path in product_modules() if named.search((ROOT / path).read_text())]


def test_every_test_is_named_as_a_sentence() -> None:
    short = [
        f"{path}:{node.lineno} {node.name}"
        for path in files_below("tests", suffix=".py")
        for node in ast.walk(parsed(path))
        if isinstance(node, FUNCTIONS) and node.name.startswith("test_")
        if len(node.name.split("_")) - 1 < TEST_NAME_WORDS_MIN
    ]
    assert not short


def test_every_product_function_says_its_types() -> None:
    """mypy would say so too; here it is said without waiting for it."""
    bare = [
        f"{path}:{node.lineno} {node.name}"
        for path in product_modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, FUNCTIONS) and node.returns is None
    ]
    assert not bare
