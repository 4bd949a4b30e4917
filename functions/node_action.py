"""One run of a Node action: how it is checked, what the runner is told, what it came to (spec 03 5.6). Pure.

The checks and the result are those of every action (functions/action.py); what differs are the limits, a few
texts, and how the runner reports what was thrown (functions/node/thrown.mjs).

Read in this order: prepare, call_message, settled_of, conclude.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from functions import action
from functions.action import ActionContext, CheckedAction
from functions.call_checks import Invocation
from functions.catalog import Catalog
from functions.invocation import RunOutcome
from functions.isolate import Frame, Returned, Settled, Terminated, Thrown
from functions.javascript_errors import frames_of
from functions.node import MODULE_PREFIX
from functions.node_errors import node_arguments_too_large
from functions.outcome import LogLines, SourceMaps
from log import limits
from log.limits import MIB

Message = dict[str, Any]
"""Of the runner or to it, decoded (functions/node/runner.mjs)."""

_OVERFLOW = "Log overflow (maximum 1M characters). Remaining log lines omitted."
_STUCK = (
    "Function execution unexpectedly timed out. Check your function for infinite loops or other "
    "long-running operations."
)
LOST = Terminated("Transient error while executing action", "host")
"""The process ended in the middle of the call, and said nothing."""
OUT_OF_MEMORY = Terminated(
    f"JavaScript execution ran out of memory (maximum memory usage: {limits.NODE_HEAP_BYTES_MAX // MIB} MB)",
    "memory",
)
STUCK = Terminated(_STUCK, "timeout")
"""Not even the runner answers any more."""


@dataclass(frozen=True, slots=True)
class PreparedNodeAction(CheckedAction):
    """An action that may be sent to a runner."""

    arguments: bytes = b"[]"


def prepare(
    catalog: Catalog, call: Invocation, deployment: dict[str, Any]
) -> PreparedNodeAction | RunOutcome:
    """The action, checked, or the outcome of a call that is refused; arguments beyond what may be sent to a
    runner are a BackendError."""
    admitted = action.admit(catalog, call)
    if isinstance(admitted, RunOutcome):
        return admitted
    function, arguments = admitted
    if len(arguments) > limits.NODE_ACTION_ARGS_BYTES_MAX:
        raise node_arguments_too_large()
    return PreparedNodeAction(ActionContext(call, deployment), function, catalog, arguments)


def call_message(prepared: PreparedNodeAction, call_id: str) -> Message:
    """What the runner is asked. Every operation of the call echoes `call_id`."""
    path = prepared.context.invocation.path
    return {
        "kind": "call",
        "id": call_id,
        "path": path.module,
        "name": path.function,
        "args": prepared.arguments.decode(),
        "seconds": limits.NODE_ACTION_SECONDS_MAX,
        "linesMax": limits.LOG_LINES_MAX,
        "charactersMax": limits.LOG_LINE_BYTES_MAX + 1,  # one too many: it still counts as cut
    }


def settled_of(message: Message, function: str) -> Settled:
    """What the runner's last message of a call says."""
    if message.get("timedOut") is True:
        seconds = limits.NODE_ACTION_SECONDS_MAX
        text = f"Action `{function}` execution timed out (maximum duration {seconds}s)"
        return Terminated(text, "timeout")
    thrown = message.get("thrown")
    if isinstance(thrown, dict):
        return thrown_of(thrown)
    value = message.get("value")
    return Returned(value.encode(errors="surrogatepass") if isinstance(value, str) else b"")


def thrown_of(facts: Message) -> Thrown:
    """What user code threw, as functions/node/thrown.mjs describes it."""
    data = facts.get("data")
    return Thrown(
        name=str(facts.get("name", "")),
        message=str(facts.get("message", "")),
        frames=_frames(str(facts.get("stack", ""))),
        data_json=data.encode() if isinstance(data, str) else None,
        is_error=facts.get("isError") is True,
    )


def _frames(stack: str) -> tuple[Frame, ...]:
    return tuple(
        Frame(
            frame.function, frame.module.removeprefix(MODULE_PREFIX), frame.line, frame.column, frame.is_async
        )
        for frame in frames_of(stack)
    )


def conclude(
    prepared: PreparedNodeAction,
    settled: Settled,
    logs: LogLines,
    unawaited: list[str],
    source_maps: SourceMaps,
) -> RunOutcome:
    """The outcome of a call that has settled; `unawaited` are the operations it left behind."""
    for name in unawaited:
        logs.add("WARN", [_outstanding_text(action.shown_name(name))])
    return action.conclude(prepared, settled, logs, [], source_maps)


def _outstanding_text(operation: str) -> str:
    return (
        f"You have an outstanding {operation} call. Operations should be awaited or they might not run. "
        "See https://docs.convex.dev/functions/actions#dangling-promises for more information."
    )


@dataclass(slots=True)
class NodeLogLines(LogLines):
    """The console of a Node action: it may print so many characters as well (spec 03 4)."""

    _characters: int = field(default=0)

    def add(self, level: str, messages: list[str]) -> None:
        if self._characters > limits.NODE_LOG_CHARACTERS_MAX:
            return
        self._characters += sum(map(len, messages))
        if self._characters > limits.NODE_LOG_CHARACTERS_MAX:
            level, messages = "ERROR", [_OVERFLOW]
        LogLines.add(self, level, messages)
