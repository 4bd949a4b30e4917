"""The processes' own logs: lines for collectors, and no more of them than a disk can bear."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster import process_log
from cluster.process_log import JSON, TEXT, log_to_file, log_to_stderr

logger = logging.getLogger("somebody.somewhere")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers[:] = []  # pytest's own stay open, which setting up anew would close
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = handlers, level


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_json_line_says_when_how_bad_who_and_what(tmp_path: Path) -> None:
    log_to_file(tmp_path, "core", JSON, None)
    logger.warning("lost %s\nafter %d", "it", 3)
    logger.debug("not this one")
    (line,) = lines_of(tmp_path / "core.log")
    when = datetime.fromisoformat(line.pop("time"))
    assert when.tzinfo == UTC and abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert line == {
        "level": "warning",
        "logger": "somebody.somewhere",
        "role": "core",
        "message": "lost it\nafter 3",
    }


def test_an_exception_is_told_inside_its_line(tmp_path: Path) -> None:
    log_to_file(tmp_path, "gateway", JSON, None)
    try:
        raise ValueError("half a pair: \ud800")
    except ValueError:
        logger.exception("it failed")
    (line,) = lines_of(tmp_path / "gateway.log")
    assert line["exception"].startswith("Traceback") and "half a pair" in line["exception"]
    assert line["level"] == "error"


@pytest.mark.parametrize(("level", "heard"), [(None, 2), ("debug", 3), ("error", 1)])
def test_the_level_says_from_where_on(tmp_path: Path, level: str | None, heard: int) -> None:
    log_to_file(tmp_path, "core", JSON, level)
    logger.debug("a")
    logger.info("b")
    logger.error("c")
    assert len(lines_of(tmp_path / "core.log")) == heard


def test_text_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_file(tmp_path, "core", TEXT, None)
    logger.info("in a file")
    assert (tmp_path / "core.log").read_text().endswith(" INFO somebody.somewhere: in a file\n")
    log_to_stderr("supervisor", TEXT, None)
    logger.info("not on a screen")
    logger.warning("on a screen")
    assert capsys.readouterr().err == "WARNING on a screen\n"


def test_stderr_can_be_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("supervisor", JSON, "info")
    logger.info("hear")
    said = json.loads(capsys.readouterr().err)
    assert (said["role"], said["message"]) == ("supervisor", "hear")


def test_files_are_rotated_by_size_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_log, "PROCESS_LOG_BYTES_MAX", 1_000)
    monkeypatch.setattr(process_log, "PROCESS_LOG_FILES_MAX", 3)
    log_to_file(tmp_path, "core", JSON, None)
    for number in range(100):
        logger.info("line %d", number)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["core.log", "core.log.1", "core.log.2"]
    assert all((tmp_path / name).stat().st_size <= 1_000 for name in files)
    kept = [line["message"] for name in reversed(files) for line in lines_of(tmp_path / name)]
    assert kept == [f"line {number}" for number in range(100 - len(kept), 100)]
