"""One run of a job with a function written in Python: it ends, however the function behaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.chain import Attempt
from actors.job_runs import run_job
from functions import scheduled_jobs
from functions.call_checks import Invocation
from functions.determinism import CallClock
from functions.function_address import FunctionAddress
from functions.invocation import RunOutcome
from functions.outcome import refusal
from functions.path import parse_function_path
from functions.transaction import Transaction
from log.keys import encode_item

from ..support.deployment import Deployment, functions_module

Function = Callable[[Transaction], bytes]


class FakeRunner:
    """Runs Python in the place of JavaScript; what it raises is the function's failure."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def run(self, transaction: Transaction, call: Invocation, seed: bytes, now_ms: float) -> RunOutcome:
        try:
            return RunOutcome(self._function(transaction), None, "Mutation")
        except ValueError as failure:
            return RunOutcome(None, refusal(str(failure)), "Mutation")


def run_once(function: Function) -> tuple[Deployment, str, Any]:
    """Schedule one job, run it, commit; returns the deployment, the job's id, and the job after that."""
    deployment = Deployment()
    deployment.push(functions_module("m.js", "export const f = mutation(); export const q = query();"))
    database = deployment.database

    def schedule(transaction: Transaction) -> str:
        callee = FunctionAddress("", parse_function_path("m:f"))
        return scheduled_jobs.schedule(transaction, callee, {}, transaction.now_ns / 1e9)

    job_id = database.transact(schedule)
    transaction = database.begin()
    attempt = Attempt(transaction, CallClock.at(database.now_ns, transaction.begin_ts), bytes(32))
    done = run_job(FakeRunner(function), job_id, "request", attempt)  # type: ignore[arg-type]
    assert done.trace is not None and done.trace.job_id == job_id
    database.commit(transaction)
    job = database.transact(lambda tx: scheduled_jobs.read_job(tx, job_id))
    return deployment, job_id, job


def write(transaction: Transaction) -> bytes:
    transaction.insert("things", {"n": 1.0})
    return b"null"


def write_and_fail(transaction: Transaction) -> bytes:
    write(transaction)
    raise ValueError("it does not work")


def read_too_much(transaction: Transaction) -> bytes:
    """As a function that meets the limit on reads and fails with it."""
    by_id = transaction.catalog.tables["_modules"].by_id
    for number in range(5_000):
        key = encode_item(f"{number:06}")
        transaction.record_read(by_id, key, key + b"\x00")
    return b"null"


def test_success_is_written_together_with_what_the_function_wrote() -> None:
    deployment, _, job = run_once(write)
    assert job["state"] == {"type": "success"} and job["nextTs"] is None
    assert len(deployment.database.documents("things")) == 1


def test_failure_undoes_what_the_function_wrote_and_keeps_why() -> None:
    deployment, _, job = run_once(write_and_fail)
    assert job["state"] == {"type": "failed", "error": "it does not work\n"}
    assert deployment.database.documents("things") == []


def test_a_function_that_used_up_its_reads_ends_its_job_like_any_that_failed() -> None:
    _, _, job = run_once(read_too_much)
    assert job["state"]["type"] == "failed" and "Too many reads" in job["state"]["error"]
    assert job["nextTs"] is None, "nobody asks for it again"


def test_what_has_ended_is_not_run_again() -> None:
    deployment, job_id, _ = run_once(write)
    transaction = deployment.database.begin()
    attempt = Attempt(transaction, CallClock.at(deployment.database.now_ns, transaction.begin_ts), bytes(32))

    def never(transaction: Transaction) -> bytes:
        pytest.fail("it ran again")

    done = run_job(FakeRunner(never), job_id, "request", attempt)  # type: ignore[arg-type]
    assert done.result is None and done.trace is None and not transaction.has_writes
