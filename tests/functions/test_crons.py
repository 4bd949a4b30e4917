"""When crons run: every kind of schedule, and the documents a push and a run leave."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from functions import cron_jobs, crons
from functions.invocation import RunOutcome
from functions.outcome import refusal
from log.errors import BackendError
from log.limits import CRON_LOGS_HELD_MAX, CRON_SPLAY_SECONDS

from ..support.deployment import Deployment, functions_module, module

SECOND_NS = 1_000_000_000
APP = functions_module("m.js", "export const f = mutation(); export const q = query();")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


def text_of(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.fixture
def no_splay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crons, "CRON_SPLAY_SECONDS", 0)


@pytest.mark.usefixtures("no_splay")
@pytest.mark.parametrize(
    ("exported", "runs"),
    [
        ({"type": "hourly", "minuteUTC": 15}, ["2026-02-27 23:15", "2026-02-28 00:15"]),
        ({"type": "daily", "hourUTC": 6, "minuteUTC": 30}, ["2026-02-28 06:30", "2026-03-01 06:30"]),
        (
            {"type": "weekly", "dayOfWeek": "monday", "hourUTC": 0, "minuteUTC": 0},
            ["2026-03-02 00:00", "2026-03-09 00:00"],
        ),
        (
            {"type": "weekly", "dayOfWeek": "Sunday", "hourUTC": 23, "minuteUTC": 59},
            ["2026-03-01 23:59", "2026-03-08 23:59"],
        ),
        (
            {"type": "monthly", "day": 31, "hourUTC": 12, "minuteUTC": 5},
            ["2026-03-31 12:05", "2026-05-31 12:05"],
        ),
        ({"type": "cron", "cron": "*/20 * * * *"}, ["2026-02-27 23:00", "2026-02-27 23:20"]),
        ({"type": "cron", "cron": "0 0 29 2 *"}, ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ],
)
def test_clock_schedules_run_at_their_times(exported: dict[str, Any], runs: list[str]) -> None:
    schedule = crons.stored_schedule("job", exported)
    now_ns = at("2026-02-27T22:50:17")
    first = crons.first_run(schedule, "job", now_ns)
    second, missed = crons.run_after(schedule, "job", first, first + SECOND_NS)
    assert [text_of(first), text_of(second), missed] == [*runs, 0]


@pytest.mark.parametrize("seed", range(20))
def test_the_delay_of_a_job_is_always_the_same_and_below_a_minute(seed: int) -> None:
    rng = random.Random(seed)
    name = f"job {seed}"
    schedule = crons.stored_schedule(name, {"type": "hourly", "minuteUTC": rng.randrange(60)})
    now_ns = at("2026-02-27T22:50:17") + rng.randrange(10**15)
    delays = set()
    for _ in range(30):
        now_ns = crons.next_run_ns(schedule, name, now_ns)
        delays.add((now_ns // SECOND_NS) % 3600 - 60 * schedule["minuteUTC"])
    (delay,) = delays
    assert 0 <= delay < CRON_SPLAY_SECONDS, f"seed {seed}"


def test_without_a_minute_the_job_has_one_of_its_own_in_the_hour() -> None:
    schedule = crons.stored_schedule("j", {"type": "daily", "hourUTC": 4})
    offsets = {
        crons.next_run_ns(schedule, f"job {number}", at("2026-02-27T22:00:00")) // SECOND_NS % 86_400
        for number in range(50)
    }
    assert len(offsets) > 40 and all(4 * 3600 <= offset < 5 * 3600 for offset in offsets)


@pytest.mark.parametrize("seed", range(30))
def test_the_next_run_is_after_now_and_no_run_lies_between(seed: int) -> None:
    rng = random.Random(seed)
    seconds = rng.choice([1, 7, 60, 3600])
    schedule = crons.stored_schedule("job", {"type": "interval", "seconds": seconds})
    previous_ns = at("2026-02-27T22:00:00")
    now_ns = previous_ns + rng.randrange(0, 10 * seconds * SECOND_NS)
    found_ns, missed = crons.run_after(schedule, "job", previous_ns, now_ns)
    runs = [previous_ns + count * seconds * SECOND_NS for count in range(1, 20)]
    assert found_ns == next(run for run in runs if run > now_ns), f"seed {seed}"
    assert missed == sum(run <= now_ns for run in runs), f"seed {seed}"


def test_an_interval_runs_first_at_once() -> None:
    schedule = crons.stored_schedule("job", {"type": "interval", "hours": 2})
    assert schedule == {"type": "interval", "seconds": 7200}
    assert crons.first_run(schedule, "job", 5) == 5


@pytest.mark.parametrize(
    "exported",
    [
        {"type": "interval", "seconds": 0},
        {"type": "interval"},
        {"type": "interval", "hours": 10_000_000},
        {"type": "interval", "seconds": 1, "minutes": 1},
        {"type": "hourly", "minuteUTC": 60},
        {"type": "daily", "hourUTC": 24},
        {"type": "daily", "hourUTC": 1.5},
        {"type": "weekly", "dayOfWeek": "someday", "hourUTC": 1},
        {"type": "monthly", "day": 32, "hourUTC": 1},
        {"type": "cron", "cron": "* * * *"},
        {"type": "cron", "cron": "61 * * * *"},
        {"type": "cron", "cron": "* * * * * *"},
        {"type": "yearly"},
    ],
)
def test_what_can_never_run_is_refused(exported: dict[str, Any]) -> None:
    with pytest.raises(BackendError, match="The cron job 'job'"):
        crons.stored_schedule("job", exported)


# --- as documents -----------------------------------------------------------------------------------


def crons_module(**jobs: Any) -> Any:
    exported = {
        name: {"name": path, "args": [args], "schedule": schedule}
        for name, (path, args, schedule) in jobs.items()
    }
    text = json.dumps(json.dumps(exported))
    return module("crons.js", f"export default {{ isCrons: true, export: () => {text} }};")


HOURLY = {"type": "hourly", "minuteUTC": 5}
MINUTELY = {"type": "interval", "minutes": 1}


def diff_of(deployment: Deployment, *modules: Any) -> Any:
    return deployment.push(*modules)["componentDiffs"][""]["cronDiff"]


def next_runs(deployment: Deployment) -> dict[str, int]:
    names = {row["_id"]: row["name"] for row in deployment.database.documents(cron_jobs.CRONS)}
    rows = deployment.database.documents(cron_jobs.NEXT_RUNS)
    return {names[row["cronJobId"]]: row["nextTs"] for row in rows}


def test_a_push_adds_changes_and_removes_crons_and_says_so() -> None:
    deployment = Deployment()
    first = crons_module(kept=("m:f", {"n": 1}, HOURLY), gone=("m:f", {}, MINUTELY))
    assert diff_of(deployment, APP, first) == {"added": ["gone", "kept"], "updated": [], "deleted": []}
    before = next_runs(deployment)
    second = crons_module(kept=("m:f", {"n": 2}, HOURLY), new=("m:f", {}, MINUTELY))
    assert diff_of(deployment, APP, second) == {"added": ["new"], "updated": ["kept"], "deleted": ["gone"]}
    assert next_runs(deployment)["kept"] == before["kept"], "other arguments keep the next run"
    assert set(next_runs(deployment)) == {"kept", "new"}
    assert diff_of(deployment, APP) == {"added": [], "updated": [], "deleted": ["kept", "new"]}
    assert next_runs(deployment) == {}


def test_another_schedule_makes_another_next_run() -> None:
    deployment = Deployment()
    deployment.push(APP, crons_module(job=("m:f", {}, HOURLY)))
    before = next_runs(deployment)["job"]
    deployment.push(APP, crons_module(job=("m:f", {}, {"type": "hourly", "minuteUTC": 35})))
    assert abs(next_runs(deployment)["job"] - before) == pytest.approx(1800 * SECOND_NS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("m:none", "The cron job 'job' schedules a function that does not exist: m.js:none"),
        ("m:q", "schedules a query function, only actions and mutations can be scheduled: m.js:q"),
    ],
)
def test_what_a_cron_cannot_run_is_refused_at_the_push(path: str, text: str) -> None:
    deployment = Deployment()
    with pytest.raises(BackendError, match=text):
        deployment.push(APP, crons_module(job=(path, {}, HOURLY)))


def test_a_run_is_logged_and_says_when_the_next_is_due() -> None:
    deployment = Deployment()
    deployment.push(APP, crons_module(job=("m:f", {}, MINUTELY)))
    database = deployment.database
    (row,) = database.documents(cron_jobs.NEXT_RUNS)
    outcomes = [RunOutcome(b'"done"', None, "Mutation", ("[LOG] 'a'",))] * CRON_LOGS_HELD_MAX
    outcomes.append(RunOutcome(None, refusal("it failed"), "Mutation"))
    for outcome in outcomes:
        due_ns = next_runs(deployment)["job"]
        database.now_ns = max(database.now_ns, due_ns) + SECOND_NS

        def end(transaction: Any, outcome: RunOutcome = outcome) -> None:
            due = cron_jobs.due_cron(transaction, row["_id"])
            assert due is not None
            cron_jobs.end_run(transaction, *due, outcome)

        database.transact(end)
        assert next_runs(deployment)["job"] == due_ns + 60 * SECOND_NS
    logs = database.documents(cron_jobs.LOGS)
    assert len(logs) == CRON_LOGS_HELD_MAX, "only the last few are kept"
    statuses = [log["status"]["type"] for log in sorted(logs, key=lambda log: log["ts"])]
    assert statuses == ["success"] * (CRON_LOGS_HELD_MAX - 1) + ["err"]
    assert logs[0]["status"] == {"type": "success", "result": {"type": "default", "value": "done"}}
    assert logs[0]["logLines"] == {"logLines": ["[LOG] 'a'"], "isTruncated": False}


def test_missed_runs_are_counted_and_not_made_up_for() -> None:
    deployment = Deployment()
    deployment.push(APP, crons_module(job=("m:f", {}, MINUTELY)))
    database = deployment.database
    (row,) = database.documents(cron_jobs.NEXT_RUNS)
    database.now_ns = next_runs(deployment)["job"] + 150 * SECOND_NS

    def end(transaction: Any) -> None:
        due = cron_jobs.due_cron(transaction, row["_id"])
        assert due is not None
        cron_jobs.end_run(transaction, *due, RunOutcome(b"null", None, "Mutation"))

    database.transact(end)
    statuses = [log["status"] for log in database.documents(cron_jobs.LOGS)]
    assert {"type": "canceled", "num_canceled": 2} in statuses and len(statuses) == 2
    assert next_runs(deployment)["job"] == row["nextTs"] + 180 * SECOND_NS


def test_a_run_that_answers_the_ts_of_its_commit_ends_like_any_other() -> None:
    deployment = Deployment()
    deployment.push(APP, crons_module(job=("m:f", {}, MINUTELY)))
    database = deployment.database
    (row,) = database.documents(cron_jobs.NEXT_RUNS)
    database.now_ns = row["nextTs"] + SECOND_NS

    def end(transaction: Any) -> None:
        due = cron_jobs.due_cron(transaction, row["_id"])
        assert due is not None
        cron_jobs.end_run(transaction, *due, RunOutcome(b'{"$commitTs":null}', None, "Mutation"))

    database.transact(end)
    (kept,) = database.documents(cron_jobs.LOGS)
    assert isinstance(kept["status"]["result"]["value"], int)
