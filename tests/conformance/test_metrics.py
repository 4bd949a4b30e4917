"""`GET /metrics` of a real server: it tells of every actor, and counts the calls of real clients."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ..support.app_calls import call
from ..support.server import RunningServer

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(server: RunningServer) -> Samples:
    answer = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Convex {server.admin_key()}"})
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def actors_of(found: Samples, name: str) -> dict[str, float]:
    """The values of a metric by actor."""
    return {dict(labels)["actor"]: value for (known, labels), value in found.items() if known == name}


def of_function(found: Samples, name: str, function: str, udf_type: str, **more: str) -> float:
    labels = {"component": "", "function": function, "type": udf_type, **more}
    return found.get((name, frozenset(labels.items())), 0.0)


def test_every_actor_of_the_server_is_told_with_its_memory_and_what_it_does(
    server: RunningServer, app: Path
) -> None:
    command = [str(Path(sys.executable).with_name("tidelog")), "status", "--data", str(server.data.path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    roles = {line.split()[0] for line in shown.splitlines()}
    assert roles >= {"core", "executor-1", "slow-executor", "gateway"}
    found = scrape(server)
    assert actors_of(found, "tidelog_actor_up") == dict.fromkeys(roles, 1.0)
    memory = actors_of(found, "tidelog_actor_memory_bytes")
    assert set(memory) == roles and min(memory.values()) > 1 << 20
    assert set(actors_of(found, "tidelog_executor_calls_total")) == roles - {"core", "gateway"}
    assert actors_of(found, "tidelog_view_bytes")["core"] > 0
    assert actors_of(found, "tidelog_view_lag_seconds") == {"core": 0.0}


def test_calls_and_what_they_read_and_wrote_are_counted(server: RunningServer, app: Path) -> None:
    before = scrape(server)
    for number in range(3):
        call(server, "mutation", "messages:send", {"channel": "counted", "body": f"number {number}"})
    found = call(server, "query", "messages:list", {"channel": "counted"})
    assert isinstance(found, list) and len(found) == 3
    after = scrape(server)

    def rise(name: str, function: str, udf_type: str, **more: str) -> float:
        return of_function(after, name, function, udf_type, **more) - of_function(
            before, name, function, udf_type, **more
        )

    sent = ("messages:send", "Mutation")
    assert rise("tidelog_function_calls_total", *sent, outcome="success") == 3
    assert rise("tidelog_function_written_documents_total", *sent) == 3
    assert rise("tidelog_function_written_bytes_total", *sent) > 3 * len("counted")
    assert rise("tidelog_function_duration_seconds_count", *sent) == 3
    assert rise("tidelog_function_duration_seconds_sum", *sent) > 0
    messages = frozenset({"component": "", "table": "messages"}.items())
    in_table = "tidelog_table_written_documents_total"
    assert after[in_table, messages] - before.get((in_table, messages), 0.0) == 3
    listed = ("messages:list", "Query")
    assert rise("tidelog_function_calls_total", *listed, outcome="success") == 1
    assert rise("tidelog_function_read_documents_total", *listed) == 3
    committed = "tidelog_log_records_appended_total"
    assert actors_of(after, committed)["core"] - actors_of(before, committed)["core"] >= 3


def test_nobody_is_told_without_an_admin_key(server: RunningServer, app: Path) -> None:
    answer = httpx.get(f"{server.url}/metrics")
    assert answer.status_code in (401, 403) and "tidelog_" not in answer.text


def test_the_dashboards_chart_shows_what_was_read_and_written(server: RunningServer, app: Path) -> None:
    def rows(metric: str, table: str, component: str = "") -> float:
        now = int(time.time())
        start, end = ({"secs_since_epoch": at, "nanos_since_epoch": 0} for at in (now - 7_200, now + 3_600))
        arguments = {
            "window": json.dumps({"start": start, "end": end, "num_buckets": 1}),
            "name": table,
            "metric": metric,
            "componentPath": component,
        }
        headers = {"Authorization": f"Convex {server.admin_key()}"}
        address = f"{server.url}/api/app_metrics/table_rate"
        ((_time, number),) = httpx.get(address, params=arguments, headers=headers, timeout=30).json()
        return float(number)

    read, written = rows("rowsRead", "messages"), rows("rowsWritten", "messages")
    for number in range(3):
        call(server, "mutation", "messages:send", {"channel": "charted", "body": f"number {number}"})
    call(server, "query", "messages:list", {"channel": "charted"})
    assert (rows("rowsRead", "messages") - read, rows("rowsWritten", "messages") - written) == (3, 3)
    assert rows("rowsRead", "messages", "nowhere") == 0
