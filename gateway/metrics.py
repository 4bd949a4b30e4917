"""What `GET /metrics` tells, in the text format of Prometheus: one table, and its rendering.

`METRICS` is the whole truth of names: the answer is made from it, and tests/test_docs.py compares the
reference with it. A fact that an actor does not give is left out, so that an actor may learn to give more or
fewer. Rendering takes long when there are many functions: `render` is made to run on another thread, over
`Readings` that nobody changes any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from gateway.function_log import display_path
from gateway.recent_usage import LATENCY_BOUNDS_SECONDS, FunctionKey
from gateway.usage import Tally

__all__ = ["CONTENT_TYPE", "METRICS", "Described", "Readings", "render"]

_ACTOR = ("actor",)
_TABLE = ("component", "table")
_FUNCTION = ("component", "function", "type")
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
Row = tuple[tuple[str, ...], Any]
"""The values of the labels, and the number; of a histogram the tally it is in."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything that one answer is made of."""

    version: str
    actors: Sequence[Mapping[str, Any]]  # gateway.backend.Backend.actor_facts, with the gateway's own
    functions: Sequence[tuple[FunctionKey, Tally]]
    responses: Mapping[int, int]  # of HTTP, by the first digit of their status


@dataclass(frozen=True, slots=True)
class Described:
    """One metric. `read` finds its rows."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    read: Callable[[Readings], Iterator[Row]]


def render(readings: Readings) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Once(readings))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would collect everything once more, for the names

    def collect(self) -> Iterator[Metric]:
        for described in METRICS:
            yield _family(described, self._readings)


def _family(described: Described, readings: Readings) -> Metric:
    name, text, labels = described.name, described.help, described.labels
    if described.kind == HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, tally in described.read(readings):
            histogram.add_metric(values, _buckets(tally), tally.seconds)
        return histogram
    family = (CounterMetricFamily if described.kind == COUNTER else GaugeMetricFamily)(
        name, text, labels=labels
    )
    for values, value in described.read(readings):
        family.add_metric(values, value)
    return family


def _buckets(tally: Tally) -> list[tuple[str, float]]:
    """Each with all that were as fast or faster."""
    bounds = [*(str(bound) for bound in LATENCY_BOUNDS_SECONDS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(tally.latencies)), strict=True))


# --- where rows come from -----------------------------------------------------------------------------


def _of_actors(name: str, kind: str, fact: str, text: str, factor: float = 1) -> Described:
    """A number that actors give, times the factor."""

    def read(readings: Readings) -> Iterator[Row]:
        for facts in readings.actors:
            if fact in facts:
                yield (str(facts["role"]),), facts[fact] * factor

    return Described(name, kind, _ACTOR, text, read)


def _is_up(readings: Readings) -> Iterator[Row]:
    for facts in readings.actors:
        yield (str(facts["role"]),), float(facts["is_up"])


def _node_processes(readings: Readings) -> Iterator[Row]:
    for facts in readings.actors:
        if "node_pids" in facts:
            yield (str(facts["role"]),), len(facts["node_pids"])


def _tables(place: int) -> Callable[[Readings], Iterator[Row]]:
    def read(readings: Readings) -> Iterator[Row]:
        for facts in readings.actors:
            for component, table, *counts in facts.get("tables", ()):
                yield (component, table), counts[place]

    return read


def _responses(readings: Readings) -> Iterator[Row]:
    for digit, count in sorted(readings.responses.items()):
        yield (f"{digit}xx",), count


def _build(readings: Readings) -> Iterator[Row]:
    yield (readings.version,), 1


def _of_functions(name: str, kind: str, text: str, value_of: Callable[[Tally], Any]) -> Described:
    def read(readings: Readings) -> Iterator[Row]:
        for key, tally in readings.functions:
            yield _labels(key), value_of(tally)

    return Described(name, kind, _FUNCTION, text, read)


def _calls(readings: Readings) -> Iterator[Row]:
    """Each call is in exactly one of them."""
    for key, tally in readings.functions:
        labels = _labels(key)
        yield (*labels, "success"), tally.calls - tally.errors - tally.cached
        yield (*labels, "error"), tally.errors
        yield (*labels, "cached"), tally.cached


def _labels(key: FunctionKey) -> tuple[str, ...]:
    return key.component, display_path(key.path), key.udf_type


# --- the table ----------------------------------------------------------------------------------------

METRICS: tuple[Described, ...] = (
    Described("tidelog_build_info", GAUGE, ("version",), "Always 1; the version is in the label.", _build),
    Described("tidelog_actor_up", GAUGE, _ACTOR, "1 if the actor answered in time, else 0.", _is_up),
    _of_actors(
        "tidelog_actor_memory_bytes",
        GAUGE,
        "memory_bytes",
        "Memory of the actor's process; what it shares is divided among its users.",
    ),
    # The log and the view.
    _of_actors("tidelog_log_epoch", GAUGE, "epoch", "Epoch of the log: rises with each start."),
    _of_actors(
        "tidelog_log_records_appended_total",
        COUNTER,
        "records_synced",
        "Records made durable since the core began.",
    ),
    _of_actors(
        "tidelog_log_batches_appended_total",
        COUNTER,
        "batches_synced",
        "Batches they were made durable in, each with one sync.",
    ),
    _of_actors(
        "tidelog_log_records_replayed",
        GAUGE,
        "records_replayed",
        "Records the core folded into its view when it began.",
    ),
    _of_actors(
        "tidelog_published_timestamp_seconds",
        GAUGE,
        "published_ts",
        "Time of the newest commit that this actor may read.",
        1e-9,
    ),
    _of_actors(
        "tidelog_view_applied_seq", GAUGE, "seq", "Seq of the newest record that is folded into the view."
    ),
    _of_actors(
        "tidelog_view_applied_timestamp_seconds",
        GAUGE,
        "applied_ts",
        "Time of the newest commit that is folded into the view.",
        1e-9,
    ),
    _of_actors(
        "tidelog_view_lag_seconds", GAUGE, "lag_ms", "How far the view is behind what is published.", 1e-3
    ),
    _of_actors("tidelog_view_bytes", GAUGE, "view_bytes", "Size of the view's data file."),
    _of_actors("tidelog_view_index_entries", GAUGE, "index_entries", "Entries of all indexes."),
    _of_actors(
        "tidelog_view_undo_entries",
        GAUGE,
        "undo_entries",
        "Replaced entries kept for readers of the recent past.",
    ),
    _of_actors("tidelog_subscriptions", GAUGE, "subscriptions", "Read sets that commits are compared with."),
    Described(
        "tidelog_table_written_documents_total",
        COUNTER,
        _TABLE,
        "Documents inserted, replaced or deleted in the table by commits.",
        _tables(0),
    ),
    Described(
        "tidelog_table_written_bytes_total",
        COUNTER,
        _TABLE,
        "Bytes of the documents that commits put into the table.",
        _tables(1),
    ),
    # Running functions.
    _of_actors(
        "tidelog_executor_calls_total",
        COUNTER,
        "calls_run",
        "Calls the executor was given, those of system functions too.",
    ),
    _of_actors(
        "tidelog_commit_conflicts_total",
        COUNTER,
        "conflicts_met",
        "Commits refused because something they had read was overwritten.",
    ),
    _of_actors("tidelog_turns_total", COUNTER, "turns_taken", "Turns taken by calls that had lost."),
    _of_actors(
        "tidelog_images_held", GAUGE, "images_held", "Images of pushed modules kept for the next calls."
    ),
    _of_actors("tidelog_actions_running", GAUGE, "actions_running", "Actions under way."),
    _of_actors("tidelog_actions_waiting", GAUGE, "actions_waiting", "Actions that wait for room to begin."),
    Described(
        "tidelog_node_processes", GAUGE, _ACTOR, "Processes of Node.js for node actions.", _node_processes
    ),
    _of_actors(
        "tidelog_jobs_waiting", GAUGE, "jobs_waiting", "Scheduled functions and crons that have not begun."
    ),
    _of_actors("tidelog_jobs_late_seconds", GAUGE, "jobs_late_seconds", "How late the next job to begin is."),
    _of_actors("tidelog_jobs_run_total", COUNTER, "jobs_run", "Scheduled functions and crons run."),
    # The gateway.
    _of_actors("tidelog_sockets_open", GAUGE, "sockets_open", "Connected sync clients."),
    _of_actors(
        "tidelog_live_queries", GAUGE, "live_queries", "Different query results that are kept up to date."
    ),
    _of_actors(
        "tidelog_queries_watched",
        GAUGE,
        "queries_watched",
        "Query results shown to clients, each client counted.",
    ),
    _of_actors("tidelog_results_bytes", GAUGE, "results_bytes", "Size of the kept query results."),
    _of_actors("tidelog_query_cache_hits_total", COUNTER, "cache_hits", "Queries answered by a kept result."),
    _of_actors(
        "tidelog_query_cache_misses_total", COUNTER, "cache_misses", "Queries for which no result was kept."
    ),
    _of_actors(
        "tidelog_query_runs_total",
        COUNTER,
        "query_runs",
        "Runs of queries; queries that miss together share one.",
    ),
    Described(
        "tidelog_http_responses_total",
        COUNTER,
        ("status",),
        "Answers to HTTP requests on both ports, by class of status.",
        _responses,
    ),
    _of_actors(
        "tidelog_function_log_entries_dropped_total",
        COUNTER,
        "log_entries_dropped",
        "Executions that no longer stand in the function log.",
    ),
    # Functions.
    Described(
        "tidelog_function_calls_total",
        COUNTER,
        (*_FUNCTION, "outcome"),
        "Calls by outcome: success, error, or cached (answered without a run).",
        _calls,
    ),
    _of_functions(
        "tidelog_function_duration_seconds",
        HISTOGRAM,
        "How long runs took, waiting for the commit included.",
        lambda tally: tally,
    ),
    _of_functions(
        "tidelog_function_invalidations_total",
        COUNTER,
        "Results of it that a commit ended while somebody watched them.",
        lambda tally: tally.invalidations,
    ),
    _of_functions(
        "tidelog_function_read_bytes_total",
        COUNTER,
        "Bytes of documents read.",
        lambda tally: tally.read_bytes,
    ),
    _of_functions(
        "tidelog_function_read_documents_total",
        COUNTER,
        "Documents read.",
        lambda tally: tally.read_documents,
    ),
    _of_functions(
        "tidelog_function_written_bytes_total",
        COUNTER,
        "Bytes of documents written.",
        lambda tally: tally.write_bytes,
    ),
    _of_functions(
        "tidelog_function_written_documents_total",
        COUNTER,
        "Documents written.",
        lambda tally: tally.write_documents,
    ),
)
