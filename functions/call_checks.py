"""What is checked before a function runs, and of what it returns (spec 03 1.6). Pure.

The texts are the same for every kind of function and caller; who refuses a nested call wraps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from functions import errors
from functions.catalog import AnalysedFunction, Catalog
from functions.path import FunctionPath
from functions.validators import args_error
from log import limits, values
from log.commit_ts import holds_placeholder
from log.errors import BackendError
from log.identity import NO_REQUESTER, Identity, Requester


@dataclass(frozen=True, slots=True)
class Invocation:
    """What to run. `udf_type` None = whatever the function is (spec 01 2.3, /api/function)."""

    path: FunctionPath
    udf_type: str | None
    args: bytes  # JSON array text
    identity: Identity
    component: str = ""
    request_id: str = ""
    journal_end: str | None = None
    may_call_internal: bool = False
    job_id: str | None = None  # the scheduled job that is being run
    requester: Requester = NO_REQUESTER
    is_from_mutation: bool = False  # then its arguments may hold the ts of the coming commit


class Refused(Exception):
    """The function cannot be entered; the text is its failure."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def resolve(catalog: Catalog, call: Invocation) -> tuple[str, AnalysedFunction]:
    """(type, analysed function), or the specified refusal (spec 03 1.6). The catalog is that of the call's
    component."""
    check_not_paused(catalog)
    if not catalog.component.is_mounted:
        raise Refused(component_not_found_text(call.component))
    module = catalog.modules.get(call.path.module)
    function = module.functions.get(call.path.function) if module is not None else None
    if function is None or not (function.is_public or call.may_call_internal):
        raise Refused(_not_found_text(call))
    udf_type = function.udf_type
    if call.udf_type is not None and udf_type != call.udf_type:
        raise Refused(
            f"Trying to execute {call.path.canonical}{_where(call)} as {call.udf_type}, "
            f"but it is defined as {udf_type}."
        )
    return udf_type, function


def check_not_paused(catalog: Catalog) -> None:
    """Nobody's function runs while the deployment is paused, not even an admin's (spec 02 22)."""
    if catalog.is_paused:
        raise Refused(
            "Cannot run functions while this deployment is paused. "
            "Resume the deployment in the dashboard settings to allow functions to run."
        )


def component_not_found_text(component: str) -> str:
    return f"Component path '{component}' not found"


def _not_found_text(call: Invocation) -> str:
    suffix = _where(call)
    if call.udf_type is None:
        return (
            f"Could not find function for '{call.path.display}'{suffix}. "
            "Did you forget to run `npx convex dev`?"
        )
    return (
        f"Could not find public function for '{call.path.display}'{suffix}. "
        "Did you forget to run `npx convex dev`?"
    )


def _where(call: Invocation) -> str:
    return f" in '{call.component}'" if call.component else ""


def checked_args(catalog: Catalog, call: Invocation, function: AnalysedFunction) -> bytes:
    """Canonical argument array text, or the specified refusal."""
    try:
        arguments = values.loads(call.args, may_hold_commit_ts=call.is_from_mutation)
        values.check_value(arguments)
    except (BackendError, ValueError) as failure:
        raise Refused(f"Invalid arguments for {call.path.canonical}: {failure}") from failure
    if not isinstance(arguments, list):
        arguments = [arguments]
    size_bytes = values.size_of(arguments)
    if size_bytes > limits.FUNCTION_ARGS_BYTES_MAX:
        raise Refused(errors.args_too_large_text(call.path.canonical, size_bytes))
    error = args_error(function.args, arguments, catalog)
    if error is not None:
        raise Refused(f"ArgumentValidationError: {error}")
    return values.dumps(arguments)


def checked_result(
    path: FunctionPath, udf_type: str, depth: int, function: AnalysedFunction, catalog: Catalog, text: bytes
) -> bytes:
    """The canonical result of a function that returned `text`, or the specified refusal."""
    try:
        value = values.loads(text, may_hold_commit_ts=udf_type != "Action")
        values.check_value(value)
    except (BackendError, ValueError) as failure:
        raise Refused(f"Function {path.canonical} return value invalid: {failure}") from failure
    result = values.dumps(value)
    if udf_type == "Query" and depth == 0 and holds_placeholder(result):
        raise Refused(errors.unresolved_result_text(path.canonical))
    size_bytes = values.size_of(value)
    if size_bytes > limits.FUNCTION_RESULT_BYTES_MAX:
        raise Refused(errors.result_too_large_text(path.canonical, size_bytes))
    error = function.returns.check(value, catalog)
    if error is not None:
        raise Refused(f"ReturnsValidationError: {error}")
    return result


def argument_array(args: Any) -> bytes:
    """JSON text of the argument array; an object is its only element."""
    return orjson.dumps(args if isinstance(args, list) else [args if args is not None else {}])
