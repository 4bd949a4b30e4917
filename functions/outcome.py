"""How a function call ended, as the caller may see it: error texts with source positions, log lines.

`JsError` is a result, not an exception: the request succeeded, the function failed (spec 03 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from functions import errors
from functions.isolate import Frame, Terminated, Thrown
from functions.source_map import SourceMap
from log import limits, values
from log.errors import BackendError

_HIDDEN_FILES = ("udf-runtime/src", "convex/src/server/impl")
_OVERFLOW = f"Log overflow (maximum {limits.LOG_LINES_MAX}). Remaining log lines omitted."
_TRUNCATED = " (truncated due to length)"

SourceMaps = Callable[[str], SourceMap | None]
"""The source map of a module path, or None when it was pushed without one."""


@dataclass(frozen=True, slots=True)
class JsError:
    """`message` is the whole text: first line, then a frame per line, each ending in a line break."""

    message: str
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One console call."""

    level: str
    messages: tuple[str, ...]
    is_truncated: bool = False

    def pretty(self) -> str:
        """`[LOG] 'hi' { ... }`, as clients receive it (spec 03 3.5)."""
        return f"[{self.level}] {' '.join(self.messages)}{_TRUNCATED if self.is_truncated else ''}"


@dataclass(slots=True)
class LogLines:
    """The console of a whole call tree: at most 256 lines, the last of which says that more were cut."""

    lines: list[LogLine] = field(default_factory=list)

    def add(self, level: str, messages: list[str]) -> None:
        if len(self.lines) >= limits.LOG_LINES_MAX:
            return
        if len(self.lines) == limits.LOG_LINES_MAX - 1:
            self.lines.append(LogLine("ERROR", (_OVERFLOW,)))
            return
        joined = " ".join(messages).encode()
        if len(joined) <= limits.LOG_LINE_BYTES_MAX:
            self.lines.append(LogLine(level, tuple(messages)))
        else:
            kept = joined[: limits.LOG_LINE_BYTES_MAX].decode(errors="ignore")
            self.lines.append(LogLine(level, (kept,), is_truncated=True))

    def pretty(self) -> list[str]:
        return [line.pretty() for line in self.lines]


def error_of_thrown(thrown: Thrown, source_maps: SourceMaps) -> JsError:
    """`Uncaught <name>: <message>` and the frames that have a source map (spec 03 3.6)."""
    shown = ": ".join(part for part in (thrown.name if thrown.is_error else "", thrown.message) if part)
    first = f"Uncaught {shown}" if shown else "Uncaught"
    encoded = first.encode(errors="replace")
    if len(encoded) > limits.ERROR_MESSAGE_BYTES_MAX:
        first = encoded[: limits.ERROR_MESSAGE_BYTES_MAX].decode(errors="ignore")
    return JsError(_with_frames(first, format_frames(thrown.frames, source_maps)), thrown.data_json)


def error_of_termination(terminated: Terminated) -> JsError:
    """Ended from outside: the text alone, without frames."""
    return JsError(terminated.message + "\n")


def of_the_whole_call(terminated: Terminated, error: JsError) -> JsError:
    """Of a nested call: what ran out is the time of the whole call, not the rest of it that was given."""
    if terminated.code == "timeout":
        return refusal(errors.timeout_text(limits.FUNCTION_USER_SECONDS_MAX))
    return error


def refusal(message: str) -> JsError:
    """A failure found before any JavaScript ran (not found, bad arguments, ...)."""
    return JsError(message + "\n")


def format_frames(frames: tuple[Frame, ...], source_maps: SourceMaps) -> list[str]:
    mapped = [found for frame in frames if (found := _map_frame(frame, source_maps)) is not None]
    while mapped and _is_hidden(mapped[0][0]):
        mapped.pop(0)
    while mapped and _is_hidden(mapped[-1][0]):
        mapped.pop()
    return [text for _file, text in mapped]


def _map_frame(frame: Frame, source_maps: SourceMaps) -> tuple[str, str] | None:
    """(source file, frame text); None for a module without a map."""
    source_map = source_maps(frame.module)
    if source_map is None:
        return None
    found = source_map.find(frame.line, frame.column)
    file, line, column = found if found is not None else (frame.module, frame.line, frame.column)
    prefix = "async " if frame.is_async else ""
    return file, f"at {prefix}{frame.function or '<anonymous>'} ({file}:{line}:{column})"


def _is_hidden(file: str) -> bool:
    return any(part in file for part in _HIDDEN_FILES)


def _with_frames(first: str, frames: list[str]) -> str:
    return first + "\n" + "".join(f"    {frame}\n" for frame in frames)


def with_canonical_data(thrown: Thrown) -> Thrown:
    """ConvexError data in canonical form; data that is no value makes the error say so."""
    if thrown.data_json is None:
        return thrown
    try:
        return replace(thrown, data_json=values.dumps(values.loads(thrown.data_json)))
    except (BackendError, ValueError) as failure:
        message = f"ConvexError with invalid data: {failure}"
        return replace(thrown, message=message, data_json=None)
