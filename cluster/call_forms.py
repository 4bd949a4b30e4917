"""A call and its outcome as the gateway knows them, and as executors do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from actors.calls import RunCall
from gateway.backend import FunctionCall, FunctionError, FunctionOutcome, HttpActionCall, Usage
from log.identity import Identity


def http_fields(call: HttpActionCall) -> tuple[Any, ...]:
    """The wire form of functions.http_action.HttpActionRequest."""
    identity = call.identity
    return (
        call.method,
        call.url,
        call.path,
        call.headers,
        call.body,
        call.has_more_body,
        identity.kind,
        identity.attributes_json,
        call.identity_error,
        call.request_id,
        call.requester,
    )


def run_call(udf_type: str | None, call: FunctionCall, journal: str | None) -> RunCall:
    return RunCall(
        udf_type=udf_type,
        path=call.path,
        component=call.component,
        args=call.args,
        identity_kind=call.identity.kind,
        identity_attributes=call.identity.attributes_json,
        request_id=call.request_id,
        journal=journal,
        call_id=os.urandom(16),
        session_id=call.session_id,
        session_request=call.session_request,
        requester_fields=call.requester,
    )


def job_call(component: str, path: str, request_id: str, late_seconds: float) -> FunctionCall:
    """A scheduled job as a call; no client called it."""
    return FunctionCall(
        path=path,
        args=b"[]",
        identity=Identity("system"),
        component=component,
        request_id=request_id,
        caller="Scheduler",
        late_seconds=late_seconds,
    )


def call_by_action(
    by: FunctionCall | HttpActionCall, component: str, path: str, identity_kind: str
) -> FunctionCall:
    return FunctionCall(
        path=path,
        args=b"[]",
        identity=Identity(identity_kind),
        component=component,
        request_id=by.request_id,
        caller="Action",
        trace_id=by.trace_id,
    )


def outcome_of(fields: Sequence[Any]) -> FunctionOutcome:
    value, message, data, log_lines, ts, journal, reads, identity, time, seconds, *rest = fields
    udf_type, used, audit_lines, _calls = rest
    return FunctionOutcome(
        value=value,
        error=FunctionError(message, data) if message is not None else None,
        log_lines=log_lines,
        ts=ts,
        journal=journal,
        reads=reads,
        observed_identity=identity,
        observed_time=time,
        execution_seconds=seconds,
        udf_type=udf_type,
        usage=Usage(*used),
        audit_lines=tuple(audit_lines),
    )
