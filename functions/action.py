"""One run of an action in the default runtime: how it is entered, what it asks, what it came to (spec 03 1).

An action has no transaction. It is resolved and checked at one snapshot; then its JavaScript runs, waits and
goes on (actors/action_run.py), and whatever it asks for is done by `Operations` of its own, each committed by
itself. What needs nobody else is answered here at once.

Read in this order: prepare, ActionHost, conclude.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from functions import errors
from functions.call_checks import Invocation, Refused, checked_args, checked_result, resolve
from functions.catalog import AnalysedFunction, Catalog
from functions.images import Images
from functions.invocation import RunOutcome
from functions.isolate import CallRequest, Image, Returned, Settled, Terminated
from functions.outcome import (
    JsError,
    LogLines,
    SourceMaps,
    error_of_termination,
    error_of_thrown,
    refusal,
    with_canonical_data,
)
from functions.snapshot import SnapshotReader
from functions.syscalls import decode_arguments
from log import limits
from log.errors import BackendError, ErrorKind
from log.identity import Identity

NEVER_COUNTED = ("host/sleep", "host/requestRead", "host/requestGone")
"""Timers and what came may be left behind; everything else that nobody awaited is told (spec 03 3.6)."""
_SHOWN_NAMES = {
    "host/fetch": "fetch",
    "host/fetchWrite": "fetch",
    "host/fetchRead": "ReadableStream",
    "host/fileWrite": "storage.store",
    "host/fileFinish": "storage.store",
    "host/fileOpen": "storage.get",
    "host/fileRead": "storage.get",
}
_TELLS = frozenset({"host/cancelSleep", "host/fetchAbort", "host/requestCancel"})


@dataclass(frozen=True, slots=True)
class ActionContext:
    """Who runs, and for whom. `job_id` is that of the scheduled job at the root of the call tree."""

    invocation: Invocation
    deployment: dict[str, Any]
    identity_error: tuple[str, str] | None = None  # (code, text) for whoever asks who calls

    @property
    def identity(self) -> Identity:
        return self.invocation.identity

    @property
    def component(self) -> str:
        return self.invocation.component

    @property
    def job_id(self) -> str | None:
        return self.invocation.job_id


@dataclass(frozen=True, slots=True)
class CheckedAction:
    """An action that may run. `catalog` is that of the snapshot it was resolved at; without a `function` it
    is an HTTP action, whose result is none of user code."""

    context: ActionContext
    function: AnalysedFunction | None
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class PreparedAction(CheckedAction):
    """An action that may be entered."""

    image: Image
    request: CallRequest


def prepare(
    images: Images,
    catalog: Catalog,
    snapshot: SnapshotReader,
    call: Invocation,
    deployment: dict[str, Any],
    seed: bytes,
    now_ms: float,
) -> PreparedAction | RunOutcome:
    """The action, ready to run, or the outcome of a call that is refused."""
    admitted = admit(catalog, call)
    if isinstance(admitted, RunOutcome):
        return admitted
    function, arguments = admitted
    request = CallRequest(
        operation="call",
        target=(call.path.module, call.path.function, "action"),
        args_json=arguments,
        now_ms=now_ms,
        seed=seed,
        user_seconds_max=limits.ACTION_SECONDS_MAX,
    )
    context = ActionContext(call, deployment)
    return PreparedAction(context, function, catalog, images.image_of(catalog, snapshot), request)


def admit(catalog: Catalog, call: Invocation) -> tuple[AnalysedFunction, bytes] | RunOutcome:
    """The function and its canonical arguments, or the outcome of a call that is refused."""
    try:
        udf_type, function = resolve(catalog, call)
        if udf_type != "Action":
            raise Refused(f"Function {call.path.canonical} has just become a {udf_type}. Call it again.")
        return function, checked_args(catalog, call, function)
    except Refused as refused:
        return RunOutcome(None, refusal(refused.message), "Action")


def conclude(
    action: CheckedAction, settled: Settled, logs: LogLines, unawaited: list[str], source_maps: SourceMaps
) -> RunOutcome:
    """The outcome of an action that has settled; `unawaited` are the system calls it left behind."""
    value, error = _result(action, settled, source_maps)
    warning = unawaited_warning(unawaited)
    if warning is not None:
        logs.add("WARN", [warning])
    udf_type = "Action" if action.function is not None else "HttpAction"
    return RunOutcome(value, error, udf_type, tuple(logs.pretty()))


def _result(
    action: CheckedAction, settled: Settled, source_maps: SourceMaps
) -> tuple[bytes | None, JsError | None]:
    if isinstance(settled, Returned):
        if action.function is None:
            return settled.json, None
        path = action.context.invocation.path
        try:
            return checked_result(path, "Action", 0, action.function, action.catalog, settled.json), None
        except Refused as refused:
            return None, refusal(refused.message)
    if isinstance(settled, Terminated):
        return None, error_of_termination(settled)
    return None, error_of_thrown(with_canonical_data(settled), source_maps)


def unawaited_warning(names: list[str]) -> str | None:
    """What is said of operations that may not have happened (spec 03 3.6)."""
    shown = sorted(shown_name(name) for name in names if name not in NEVER_COUNTED)
    if not shown:
        return None
    operations = "operation" if len(shown) == 1 else "operations"
    return (
        f"{len(shown)} unawaited {operations}: [{', '.join(shown)}]. Async operations should be awaited or "
        "they might not run. See https://docs.convex.dev/functions/actions#dangling-promises for more "
        "information."
    )


def shown_name(name: str) -> str:
    """How warnings call an operation."""
    return _SHOWN_NAMES.get(name) or name.removeprefix("1.0/").removeprefix("actions/")


class ActionHost:
    """functions.isolate.HostCalls of one action, on the thread that runs its JavaScript.

    `begin(call_id, name, arguments)` starts what takes time, on another thread; its answer is delivered
    later. `tell(name, arguments)` passes on what has no answer.
    """

    def __init__(
        self,
        context: ActionContext,
        begin: Callable[[int, str, dict[str, Any]], None],
        tell: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._context, self._begin, self._tell = context, begin, tell
        self.logs = LogLines()

    def syscall(self, name: str, args: bytes) -> bytes:
        if name in _TELLS:
            self._tell(name, decode_arguments(args))
            return b"null"
        if name == "1.0/componentArgument":
            if self._context.component:
                return b"{}"
            raise errors.no_component_arguments()
        raise errors.unknown_operation(name)

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        answer = _AT_ONCE.get(name)
        if answer is not None:
            return answer(self._context)
        self._begin(call_id, name, decode_arguments(args))
        return None

    def console(self, level: str, messages: list[str]) -> None:
        self.logs.add(level, messages)

    def observed(self, what: str) -> None:
        """Of no interest: what an action returns is never shared."""


def _identity(context: ActionContext) -> bytes:
    if context.identity_error is not None:
        raise BackendError(ErrorKind.UNAUTHENTICATED, *context.identity_error)
    return context.identity.attributes_json or b"null"


def _function_metadata(context: ActionContext) -> bytes:
    call = context.invocation
    return orjson.dumps({"name": call.path.display, "componentPath": call.component})


def _deployment_metadata(context: ActionContext) -> bytes:
    return orjson.dumps(context.deployment)


def _request_metadata(context: ActionContext) -> bytes:
    call = context.invocation
    facts = call.requester.facts(call.request_id)
    return orjson.dumps({**facts, "scheduledFunctionId": call.job_id, "authToken": None})


_AT_ONCE: dict[str, Callable[[ActionContext], bytes]] = {
    "1.0/getUserIdentity": _identity,
    "1.0/getFunctionMetadata": _function_metadata,
    "1.0/getDeploymentMetadata": _deployment_metadata,
    "1.0/getRequestMetadata": _request_metadata,
}
