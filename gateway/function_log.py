"""The newest function executions, as `npx convex logs` and the dashboard read them (spec 02 16).

A bounded ring: entry n has a cursor (milliseconds, strictly increasing, never 0); a reader asks for what
lies after its cursor. Records are small and are turned into JSON only when somebody reads them. The
clock arrives as an argument; who waits for entries registers a watcher.
"""

from __future__ import annotations

import os
import re
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from functions.path import SYSTEM_FOLDER
from gateway.backend import NO_USAGE, FunctionCall, FunctionOutcome, Usage
from gateway.recent_usage import FunctionKey
from gateway.usage import FunctionUsage
from log.limits import FUNCTION_LOG_ENTRIES_MAX

_CURSOR_STEP_MS = 0.001
_LOG_LINE = re.compile(r"\[(\w+)\] (.*)", re.DOTALL)
_TRUNCATED = " (truncated due to length)"
_IDENTITY_TYPES = {
    "unknown": "unknown",
    "user": "user",
    "admin": "instance_admin",
    "reader": "instance_admin",
    "acting": "member_acting_user",
    "system": "system",
}
_UNCOUNTED = dict.fromkeys(
    (
        "storageReadBytes",
        "storageWriteBytes",
        "vectorIndexReadBytes",
        "vectorIndexWriteBytes",
        "memoryUsedMb",
    ),
    0,
)


@dataclass(frozen=True, slots=True)
class Execution:
    """One finished call, without its value and arguments."""

    cursor_ms: float
    end_seconds: float
    path: str
    component: str
    request_id: str
    trace_id: str
    caller: str
    identity_kind: str
    udf_type: str
    log_lines: bytes
    error: str | None
    return_bytes: int
    execution_seconds: float
    cached: bool
    usage: Usage = NO_USAGE
    http_status: int | None = None
    execution_seed: bytes = field(default_factory=partial(os.urandom, 16))  # made a UUID when read
    audit_lines: tuple[bytes, ...] = ()  # told to listeners, not kept


class FunctionLog:
    """The ring. `watchers` are called after each addition, `listeners` with what was added, whole; `usage`
    counts what was ever added."""

    def __init__(self, entries_max: int = FUNCTION_LOG_ENTRIES_MAX) -> None:
        self._ring: deque[Execution] = deque(maxlen=entries_max)
        self._entries_added = 0
        self._last_cursor_ms = 0.0
        self.usage = FunctionUsage()
        self.watchers: set[Callable[[], None]] = set()
        self.listeners: set[Callable[[Execution], None]] = set()

    @property
    def is_empty(self) -> bool:
        return not self._ring

    @property
    def entries_dropped(self) -> int:
        """How many are no longer there to be read."""
        return self._entries_added - len(self._ring)

    def add(
        self,
        call: FunctionCall,
        outcome: FunctionOutcome,
        udf_type: str,
        now_seconds: float,
        *,
        cached: bool = False,
        http_status: int | None = None,
    ) -> None:
        """Keep one execution. What the CLI and the dashboard ask for themselves is none of the app's, and
        would soon be all that is kept."""
        if call.path.startswith(SYSTEM_FOLDER):
            return
        self._last_cursor_ms = max(now_seconds * 1000, self._last_cursor_ms + _CURSOR_STEP_MS)
        execution = Execution(
            cursor_ms=self._last_cursor_ms,
            end_seconds=now_seconds,
            path=call.path,
            component=call.component,
            request_id=call.request_id,
            trace_id=call.trace_id,
            caller=call.caller,
            identity_kind=call.identity.kind,
            udf_type=outcome.udf_type or udf_type,
            log_lines=outcome.log_lines,
            error=None if outcome.error is None else outcome.error.message,
            return_bytes=len(outcome.value or b""),
            execution_seconds=0.0 if cached else outcome.execution_seconds,
            cached=cached,
            usage=NO_USAGE if cached else outcome.usage,
            http_status=http_status,
            audit_lines=() if cached else outcome.audit_lines,
        )
        if call.late_seconds is not None:
            self.usage.recent.count_job(call.late_seconds, now_seconds)
        self._keep(execution)

    def _keep(self, execution: Execution) -> None:
        """And tell whoever listens. Audit lines are for listeners: the ring is bounded by entries only."""
        self._ring.append(replace(execution, audit_lines=()) if execution.audit_lines else execution)
        self._entries_added += 1
        self._count(execution)
        for listener in tuple(self.listeners):
            listener(execution)
        for watcher in tuple(self.watchers):
            watcher()

    def count_invalidation(self, component: str, path: str, now_seconds: float) -> None:
        """A commit ended the result of a query that somebody watched."""
        if not path.startswith(SYSTEM_FOLDER):
            self.usage.count_invalidation(FunctionKey(component, path, "Query"), now_seconds)

    def _count(self, execution: Execution) -> None:
        self.usage.count(
            FunctionKey(execution.component, execution.path, execution.udf_type),
            execution.usage,
            execution.execution_seconds,
            execution.end_seconds,
            failed=execution.error is not None,
            cached=execution.cached,
        )

    def after(self, cursor_ms: float, request_id: str | None = None) -> tuple[list[Execution], float]:
        """Executions past the cursor, oldest first, and the cursor to go on from. With `request_id` only
        those of that request; the cursor passes the others by."""
        newer: list[Execution] = []
        for execution in reversed(self._ring):
            if execution.cursor_ms <= cursor_ms:
                break
            newer.append(execution)
        if not newer:
            return [], cursor_ms
        reached = newer[0].cursor_ms
        return [e for e in reversed(newer) if request_id in (None, e.request_id)], reached


def completion_entry(execution: Execution, *, structured: bool) -> dict[str, Any]:
    """The wire form. Log lines are objects for the CLI and dashboard, strings for others (spec 02 16)."""
    lines: list[str] = orjson.loads(execution.log_lines)
    stamp_ms = execution.end_seconds * 1000
    return {
        "kind": "Completion",
        "udfType": execution.udf_type,
        "componentPath": execution.component or None,
        "identifier": display_path(execution.path),
        "logLines": [structured_line(line, stamp_ms) for line in lines] if structured else lines,
        "timestamp": execution.end_seconds,
        "cachedResult": execution.cached,
        "executionTime": execution.execution_seconds,
        "userExecutionTime": execution.execution_seconds,
        "success": {"status": str(execution.http_status)} if execution.http_status is not None else None,
        "error": execution.error,
        "requestId": execution.request_id,
        "traceId": execution.trace_id or None,  # ours; clients ignore what they do not know
        "executionId": str(uuid.UUID(bytes=execution.execution_seed, version=4)),
        "caller": execution.caller,
        "parentExecutionId": None,
        "usageStats": _usage_stats(execution.usage),
        "returnBytes": execution.return_bytes,
        "occInfo": None,
        "willRetry": False,
        "executionTimestamp": execution.end_seconds - execution.execution_seconds,
        "identityType": _IDENTITY_TYPES.get(execution.identity_kind, "unknown"),
        "environment": "isolate",
    }


def _usage_stats(usage: Usage) -> dict[str, int]:
    return {
        "databaseReadBytes": usage.database_read_bytes,
        "databaseWriteBytes": usage.database_write_bytes,
        "databaseReadDocuments": usage.database_read_documents,
        "databaseWriteDocuments": usage.database_write_documents,
        **_UNCOUNTED,
    }


def structured_line(line: str, stamp_ms: float) -> dict[str, Any]:
    """`[LOG] 'x'` as an object."""
    matched = _LOG_LINE.match(line)
    level, text = matched.groups() if matched else ("LOG", line)
    return {
        "messages": [text],
        "level": level,
        "timestamp": stamp_ms,
        "isTruncated": text.endswith(_TRUNCATED),
    }


def display_path(path: str) -> str:
    """`dir/mod.js:fn` as `dir/mod:fn`; the method and address of an HTTP action as they are."""
    if " /" in path:
        return path
    module, colon, function = path.rpartition(":")
    return f"{module.removesuffix('.js')}{colon}{function}"
