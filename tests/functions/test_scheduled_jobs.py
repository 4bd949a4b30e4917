"""Jobs as documents: what scheduling writes, what is refused, what user code sees of it."""

from __future__ import annotations

from typing import Any

import pytest

from functions import scheduled_jobs
from functions.function_address import FunctionAddress
from functions.path import parse_function_path
from functions.query import QueryStream, plan_query
from functions.transaction import Transaction
from log import limits, values
from log.errors import BackendError

from ..support.deployment import Deployment, functions_module

APP = functions_module("m.js", "export const f = mutation();")
PATH = parse_function_path("m:f")
DAY_SECONDS = 24 * 3600


@pytest.fixture
def deployment() -> Deployment:
    deployed = Deployment()
    deployed.push(APP)
    return deployed


def in_one(deployment: Deployment, run: Any) -> Any:
    return deployment.database.transact(run)


def schedule(deployment: Deployment, in_seconds: float = 0.0, arguments: Any = None, path: Any = PATH) -> str:
    def run(transaction: Transaction) -> str:
        at_seconds = transaction.now_ns / 1e9 + in_seconds
        return scheduled_jobs.schedule(
            transaction, FunctionAddress("", path), arguments or {"n": 1.0}, at_seconds
        )

    return in_one(deployment, run)


def seen(deployment: Deployment) -> list[dict[str, Any]]:
    """`db.system.query("_scheduled_functions")`, in the order of creation."""
    tree = {"source": {"type": "FullTableScan", "tableName": "_scheduled_functions", "order": "asc"}}

    def run(transaction: Transaction) -> list[dict[str, Any]]:
        stream = QueryStream(plan_query(tree, transaction.catalog), transaction)
        found: list[dict[str, Any]] = []
        while (row := stream.next()) is not None:
            found.append(values.loads(row.document))  # type: ignore[arg-type]
        return found

    return in_one(deployment, run)


def test_user_code_sees_name_arguments_state_and_time_of_a_job(deployment: Deployment) -> None:
    job_id = schedule(deployment, 60, {"text": "hello"})
    (job,) = seen(deployment)
    assert job["_id"] == job_id and job["name"] == "m:f" and job["args"] == [{"text": "hello"}]
    assert job["state"] == {"kind": "pending"} and "completedTime" not in job
    assert job["scheduledTime"] - job["_creationTime"] == pytest.approx(60_000, abs=1)


def test_a_time_that_is_past_means_now_and_stays_what_was_asked_for(deployment: Deployment) -> None:
    job_id = schedule(deployment, -60)
    stored = in_one(deployment, lambda transaction: scheduled_jobs.read_job(transaction, job_id))
    assert stored["nextTs"] - stored["originalScheduledTs"] == pytest.approx(60e9, rel=1e-6)


@pytest.mark.parametrize(
    ("in_seconds", "text"),
    [(6 * 366 * DAY_SECONDS, "in the future"), (-6 * 366 * DAY_SECONDS, "in the past")],
)
def test_more_than_five_years_away_is_refused(deployment: Deployment, in_seconds: float, text: str) -> None:
    with pytest.raises(BackendError, match=f"more than 5 years {text}"):
        schedule(deployment, in_seconds)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("none:f", "Attempted to schedule function at nonexistent path: none.js"),
        ("m:g", "no exported function g found in the file: m.js. Did you forget to export it?"),
    ],
)
def test_what_does_not_exist_is_refused(deployment: Deployment, path: str, text: str) -> None:
    with pytest.raises(BackendError, match=text):
        schedule(deployment, path=parse_function_path(path))


def refusal_text(run: Any) -> str:
    with pytest.raises(BackendError) as refused:
        run()
    return f"{refused.value.code}: {refused.value.message}"


def schedule_in(transaction: Transaction, text: str = "") -> None:
    address = FunctionAddress("", PATH)
    scheduled_jobs.schedule(transaction, address, {"text": text}, transaction.now_ns / 1e9)


def test_one_transaction_schedules_a_thousand_functions_and_no_more(deployment: Deployment) -> None:
    transaction = deployment.database.begin()
    for _ in range(1_000):
        schedule_in(transaction)
    assert refusal_text(lambda: schedule_in(transaction)) == (
        "TooManyFunctionsScheduled: Too many functions scheduled by this mutation (limit: 1000)"
    )


def test_arguments_of_all_jobs_of_a_transaction_are_limited_together(deployment: Deployment) -> None:
    """16 MiB may be reached, by two that fit; one byte more may not."""
    transaction = deployment.database.begin()
    schedule_in(transaction)
    half = "x" * (limits.TRANSACTION_SCHEDULED_ARGS_BYTES_MAX // 2 - transaction.budget.scheduled_args_bytes)
    transaction = deployment.database.begin()
    schedule_in(transaction, half)
    schedule_in(transaction, half)
    assert transaction.budget.scheduled_args_bytes == 16_777_216
    transaction = deployment.database.begin()
    schedule_in(transaction, half)
    assert refusal_text(lambda: schedule_in(transaction, half + "x")) == (
        "ScheduledFunctionsArgumentsTooLarge: Too large total size of the arguments of scheduled functions "
        "from this mutation (limit: 16777216 bytes)"
    )


def test_a_job_is_cancelled_once_and_an_ended_one_stays_as_it_is(deployment: Deployment) -> None:
    job_id = schedule(deployment, 60)
    in_one(deployment, lambda transaction: scheduled_jobs.cancel(transaction, job_id))
    (first,) = seen(deployment)
    assert first["state"] == {"kind": "canceled"} and first["completedTime"] > 0
    in_one(deployment, lambda transaction: scheduled_jobs.cancel(transaction, job_id))
    assert seen(deployment) == [first]


@pytest.mark.parametrize("wrong", ["no id", None, "a document"])
def test_only_jobs_can_be_cancelled(deployment: Deployment, wrong: Any) -> None:
    if wrong == "a document":
        wrong = deployment.database.insert("things", {"n": 1.0})
    with pytest.raises(BackendError, match="must be an ID on the '_scheduled_functions' table"):
        in_one(deployment, lambda transaction: scheduled_jobs.cancel(transaction, wrong))


def test_ended_jobs_go_with_their_arguments_and_pending_ones_stay(deployment: Deployment) -> None:
    first, second = schedule(deployment), schedule(deployment)
    in_one(deployment, lambda transaction: scheduled_jobs.end_job(transaction, first, {"type": "success"}))
    later_ns = deployment.database.now_ns + 10**18

    def remove(transaction: Transaction) -> int:
        return scheduled_jobs.remove_ended_jobs(transaction, later_ns, 10)

    assert [in_one(deployment, remove), in_one(deployment, remove)] == [1, 0]
    assert [job["_id"] for job in seen(deployment)] == [second]
    kept = in_one(deployment, lambda tx: tx.all_documents(tx.catalog.tables[scheduled_jobs.ARGUMENTS]))
    assert len(kept) == 1


def test_other_indexes_of_the_queue_are_private(deployment: Deployment) -> None:
    source = {
        "type": "IndexRange",
        "indexName": "_scheduled_functions.by_next_ts",
        "range": [],
        "order": "asc",
    }
    with pytest.raises(BackendError, match="by_next_ts"):
        in_one(deployment, lambda transaction: plan_query({"source": source}, transaction.catalog))


def test_an_operator_cancels_one_job(deployment: Deployment) -> None:
    first, second = schedule(deployment, 60), schedule(deployment, 60)
    assert deployment.operate("cancel_job", {"id": first}) == {}
    assert {job["_id"]: job["state"]["kind"] for job in seen(deployment)} == {
        first: "canceled",
        second: "pending",
    }
    with pytest.raises(BackendError, match="Invalid scheduled function ID"):
        deployment.operate("cancel_job", {"id": "nothing"})


def test_an_operator_cancels_all_that_wait_step_by_step(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.system.jobs.JOBS_READ_PER_STEP", 3)
    for _ in range(7):
        schedule(deployment, 60)
    answer, steps = {"isDone": False}, 0
    while not answer["isDone"]:
        answer, steps = deployment.operate("cancel_all_jobs", {"next": answer.get("next")}), steps + 1
    assert steps == 3
    assert [job["state"]["kind"] for job in seen(deployment)] == ["canceled"] * 7
    for place in (7, {}, {"afterKey": "xyz"}):
        with pytest.raises(BackendError, match="`next`"):
            deployment.operate("cancel_all_jobs", {"next": place})


def test_an_operator_cancels_by_function_and_by_time(deployment: Deployment) -> None:
    deployment.push(functions_module("m.js", "export const f = mutation(); export const g = mutation();"))
    other = parse_function_path("m:g")
    jobs = {(name, seconds): schedule(deployment, seconds, path=path)
            for name, path in (("f", PATH), ("g", other)) for seconds in (60, 120, 180)}  # fmt: skip
    due = {job["_id"]: int(job["scheduledTime"] * 1e6) for job in seen(deployment)}
    window = {"startNextTs": due[jobs["f", 120]] - 10**9, "endNextTs": str(due[jobs["f", 120]] + 10**9)}
    deployment.operate("cancel_all_jobs", {"udfPath": "m:f", **window})
    cancelled = [job["_id"] for job in seen(deployment) if job["state"]["kind"] == "canceled"]
    assert cancelled == [jobs["f", 120]]
    with pytest.raises(BackendError, match="startNextTs"):
        deployment.operate("cancel_all_jobs", {"startNextTs": "soon"})
