"""What a reviewer should not have to say: lengths, leftovers, names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .support.tree import ROOMS, ROOT, files_below, parsed, product_modules

LINE_LENGTH_MAX = 110
FILE_LENGTH_MAX = 400
FILE_LENGTH_EVER = 600
LONG_FILES = {
    "functions/transaction.py": "one state machine: its reads and writes share every field",
    "actors/index_view.py": "the writer and the readers of one layout",
    "actors/executor.py": "every message of one actor",
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


@pytest.mark.parametrize("path", PYTHON_FILES, ids=str)
def test_every_line_and_file_is_short_enough(path: Path) -> None:
    lines = (ROOT / path).read_text().splitlines()
    too_long = [number for number, line in enumerate(lines, 1) if len(line) > LINE_LENGTH_MAX]
    assert not too_long, f"{path}: lines {too_long} are longer than {LINE_LENGTH_MAX}"
    length_max = FILE_LENGTH_EVER if str(path) in LONG_FILES else FILE_LENGTH_MAX
    assert len(lines) <= length_max, f"{path} has {len(lines)} lines: find the seam"


def test_every_exception_to_the_file_length_is_still_one() -> None:
    known = {str(path) for path in PYTHON_FILES}
    stale = [
        path
        for path in LONG_FILES
        if path in known and len((ROOT / path).read_text().splitlines()) <= FILE_LENGTH_MAX
    ]
    assert not stale, "these are short enough now"
    assert set(LONG_FILES) <= known, "these are gone"


@pytest.mark.parametrize("path", TEXT_FILES, ids=str)
def test_no_text_holds_leftovers_or_paths_of_a_machine(path: Path) -> None:
    text = (ROOT / path).read_text()
    if path.name != Path(__file__).name:  # it names what it looks for
        assert not LEFTOVER.search(text), f"{path} holds {LEFTOVER.search(text)}"
    assert not MACHINE_PATH.search(text), f"{path} holds {MACHINE_PATH.search(text)}"


@pytest.mark.parametrize("path", product_modules(), ids=str)
def test_product_code_never_prints_and_never_breaks_into_a_debugger(path: Path) -> None:
    called = {
        node.func.id
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    forbidden = {"breakpoint"} if str(path) in PRINTERS else {"breakpoint", "print"}
    assert not called & forbidden


@pytest.mark.parametrize("path", product_modules(), ids=str)
def test_every_logger_is_named_after_its_module(path: Path) -> None:
    """`log` is our noun; Python's logging is `_logger = logging.getLogger(__name__)`."""
    assigned = {
        target.id
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "log" not in assigned and "logger" not in assigned
    assert "getLogger(" not in re.sub(r"getLogger\(__name__\)", "", (ROOT / path).read_text())


@pytest.mark.parametrize("path", files_below("tests", suffix=".py"), ids=str)
def test_every_test_is_named_as_a_sentence(path: Path) -> None:
    tests = [
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    short = [node.name for node in tests if len(node.name.split("_")) - 1 < TEST_NAME_WORDS_MIN]
    assert not short, f"{path}: {short} are no sentences"


@pytest.mark.parametrize("room", ROOMS)
def test_every_function_says_its_types(room: str) -> None:
    """mypy would say so too; here it is said without waiting for it."""
    bare = [
        f"{path}:{node.lineno} {node.name}"
        for path in files_below(room, suffix=".py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None
        if node.name != "__init__" or any(argument.annotation is None for argument in node.args.args[1:])
    ]
    assert not bare
