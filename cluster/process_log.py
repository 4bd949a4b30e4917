"""What our processes say of themselves: text for people, or one JSON object a line for collectors.

Each actor writes `logs/<role>.log` of the data folder, the supervisor writes to stderr. Files are rotated by
size, so that they never fill a disk: `core.log`, then `core.log.1`, the older the higher. What functions say
is not here (gateway/function_log.py).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

from log.limits import PROCESS_LOG_BYTES_MAX, PROCESS_LOG_FILES_MAX

TEXT, JSON = "text", "json"
_FILE_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STDERR_TEXT = "%(levelname)s %(message)s"


class JsonLines(logging.Formatter):
    """`{"time":"2026-11-26T03:04:05.678Z","level":"warning","logger":...,"role":...,"message":...}`, with
    `exception`, the traceback's text, where there is one."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "role": self._role,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps({name: _encodable(text) for name, text in fields.items()}).decode()


def log_to_file(folder: Path, role: str, form: str, level: str | None) -> None:
    """From now on this process writes `<role>.log`, in `form`, from `level` on (None: info)."""
    handler = RotatingFileHandler(
        folder / f"{role}.log",
        maxBytes=PROCESS_LOG_BYTES_MAX,
        backupCount=PROCESS_LOG_FILES_MAX - 1,
        encoding="utf-8",
        errors="backslashreplace",
    )
    _set_up(handler, role, form, _FILE_TEXT, level or "info")


def log_to_stderr(role: str, form: str, level: str | None) -> None:
    """The same for a process that people watch (None: warning)."""
    _set_up(logging.StreamHandler(), role, form, _STDERR_TEXT, level or "warning")


def _set_up(handler: logging.Handler, role: str, form: str, text_format: str, level: str) -> None:
    handler.setFormatter(JsonLines(role) if form == JSON else logging.Formatter(text_format))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def _encodable(text: str) -> str:
    """Half of a surrogate pair, which JavaScript can make, has no place in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
