"""Sinks of the function log: what waits, what is delivered again, what is dropped and counted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import resource
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway import log_sinks
from gateway.backend import FunctionCall, FunctionOutcome, GatewaySettings
from gateway.function_log import Execution, FunctionLog
from gateway.log_sinks import SinkQueue, Verdict, retry_seconds, verdict_of
from gateway.server import GatewayServer
from gateway.sink_delivery import LogSink, sinks_of
from gateway.sink_targets import FileTarget, encode_batch, entries_of
from log.identity import UNKNOWN
from log.limits import (
    SINK_BATCH_BYTES_MAX,
    SINK_BATCH_ENTRIES_MAX,
    SINK_BATCH_SECONDS,
    SINK_RETRY_SECONDS_FIRST,
    SINK_RETRY_SECONDS_MAX,
)

from ..support.fake_backend import SETTINGS, FakeBackend
from ..support.log_receiver import Receiver

PATIENCE_SECONDS = 20
SECRET = b"k" * 32


def note(function_log: FunctionLog, *names: str, line: str = "hey") -> None:
    for name in names:
        outcome = FunctionOutcome(b"1", None, orjson.dumps([f"[LOG] '{line}'"]), 1, udf_type="Query")
        function_log.add(FunctionCall("m.js:f", b"[]", UNKNOWN, request_id=name), outcome, "Query", 5.0)


def executions(count: int, line: str = "hey", first: int = 0) -> list[Execution]:
    function_log = FunctionLog(entries_max=count + 1)
    note(function_log, *(str(first + number) for number in range(count)), line=line)
    return function_log.after(0)[0]


def names(batch: Sequence[Execution]) -> list[str]:
    return [execution.request_id for execution in batch]


# --- the queue ----------------------------------------------------------------------------------------


def test_a_batch_is_due_when_its_oldest_has_waited_or_at_once_when_it_is_full() -> None:
    queue = SinkQueue()
    assert queue.due_seconds(100.0) is None
    assert queue.add(executions(1), 100.0), "whoever waits for ever must hear"
    assert not queue.add(executions(1), 100.9), "nothing is due earlier"
    assert queue.due_seconds(100.25) == pytest.approx(SINK_BATCH_SECONDS - 0.25)
    assert queue.due_seconds(200.0) == 0
    assert queue.add(executions(SINK_BATCH_ENTRIES_MAX - 2), 100.0)
    assert queue.due_seconds(100.0) == 0


def test_batches_are_bounded_in_number_and_in_bytes_but_never_empty() -> None:
    queue = SinkQueue()
    queue.add(executions(SINK_BATCH_ENTRIES_MAX + 1), 0.0)
    assert len(queue.take()) == SINK_BATCH_ENTRIES_MAX
    queue.settle(Verdict.DELIVERED, 0.0)
    assert len(queue.take()) == 1
    queue.settle(Verdict.DELIVERED, 0.0)
    queue.add(executions(3, "x" * (SINK_BATCH_BYTES_MAX // 2)), 0.0)
    queue.add(executions(1, "x" * 2 * SINK_BATCH_BYTES_MAX), 0.0)
    taken = []
    while not queue.is_empty:
        taken.append(len(queue.take()))
        queue.settle(Verdict.DELIVERED, 0.0)
    assert taken == [1, 1, 1, 1] and queue.dropped == 0


def test_a_batch_that_failed_is_the_next_again_ever_later() -> None:
    queue = SinkQueue()
    queue.add(executions(1), 0.0)
    waits = []
    for _ in range(12):
        assert names(queue.take()) == ["0"]
        queue.settle(Verdict.FAILED, 50.0)
        waits.append(queue.due_seconds(50.0))
        queue.add(executions(1, first=1), 50.0)
    assert waits[:3] == [SINK_RETRY_SECONDS_FIRST * factor for factor in (1, 2, 4)]
    assert waits[-1] == SINK_RETRY_SECONDS_MAX == retry_seconds(10**9)
    queue.settle(Verdict.DELIVERED, 60.0)
    assert queue.due_seconds(60.0) == 0, "the next batch waits for no earlier one's failures"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, Verdict.DELIVERED) for status in (200, 202, 204, 299)),
        *((status, Verdict.REFUSED) for status in (400, 413, 422)),
        *((status, Verdict.FAILED) for status in (301, 401, 403, 404, 408, 429, 500, 503)),
    ],
)
def test_the_status_of_an_answer_says_what_becomes_of_a_batch(status: int, verdict: Verdict) -> None:
    assert verdict_of(status) is verdict


@pytest.mark.parametrize("seed", range(30))
def test_each_execution_is_delivered_once_in_order_or_counted_as_dropped(seed: int) -> None:
    rng = random.Random(seed)
    queue, now, added, delivered, refused = SinkQueue(entries_max=7), 0.0, 0, [], 0
    for _ in range(300):
        now += rng.random()
        if rng.random() < 0.6:
            count = rng.randrange(5)
            queue.add(executions(count, first=added), now)
            added += count
        elif queue.due_seconds(now) == 0:
            batch, verdict = names(queue.take()), rng.choice(list(Verdict))
            queue.settle(verdict, now)
            delivered += batch if verdict is Verdict.DELIVERED else []
            refused += len(batch) if verdict is Verdict.REFUSED else 0
    assert [int(name) for name in delivered] == sorted({int(name) for name in delivered}), f"seed {seed}"
    assert delivered and queue.dropped > refused > 0, f"seed {seed} shows nothing"
    queue.give_up()
    assert queue.is_empty and len(delivered) + queue.dropped == added, f"seed {seed}"


def test_beyond_its_bounds_the_queue_keeps_the_newest() -> None:
    queue = SinkQueue(entries_max=3)
    queue.add(executions(5), 0.0)
    assert (names(queue.take()), queue.dropped) == (["2", "3", "4"], 2)
    large = SinkQueue(bytes_max=10_000)
    large.add(executions(4, "x" * 4_000), 0.0)
    assert (names(large.take()), large.dropped) == (["3"], 3)


# --- files --------------------------------------------------------------------------------------------


def entries_in(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def entry_of(execution: Execution) -> dict[str, object]:
    (entry,) = entries_of(execution)
    return entry


def deliver(target: FileTarget, batch: Sequence[Execution]) -> Verdict:
    return asyncio.run(target.deliver(encode_batch(batch).entries))[0]


def test_a_file_gets_one_entry_a_line_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path, batch = tmp_path / "executions.jsonl", executions(3)
    target = FileTarget(path)
    assert deliver(target, batch[:2]) is deliver(target, batch[2:]) is Verdict.DELIVERED
    assert entries_in(path) == [entry_of(execution) for execution in batch]
    assert entries_in(path)[0]["logLines"][0]["messages"] == ["'hey'"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_are_rotated_by_size_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "executions.jsonl"
    target = FileTarget(path, bytes_max=2_500, files_max=3)
    for execution in executions(20):
        assert deliver(target, [execution]) is Verdict.DELIVERED
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [path.name, f"{path.name}.1", f"{path.name}.2"]
    kept = [entry["requestId"] for file in reversed(files) for entry in entries_in(file)]
    assert kept == [str(number) for number in range(20 - len(kept), 20)] and len(kept) > 6
    assert all(file.stat().st_size <= 2_500 for file in files)


def test_what_a_full_disk_took_a_part_of_is_taken_back_and_written_whole_later(tmp_path: Path) -> None:
    path, batch = tmp_path / "executions.jsonl", executions(2)
    target = FileTarget(path)
    deliver(target, batch[:1])
    with files_of_at_most(path.stat().st_size + 100):
        assert deliver(target, batch[1:]) is Verdict.FAILED
    assert entries_in(path) == [entry_of(batch[0])]
    assert deliver(target, batch[1:]) is Verdict.DELIVERED
    assert entries_in(path) == [entry_of(execution) for execution in batch]


@contextmanager
def files_of_at_most(size_bytes: int) -> Any:
    """The kernel refuses this process more, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- addresses ----------------------------------------------------------------------------------------


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sinks, "SINK_BATCH_SECONDS", 0.01)
    monkeypatch.setattr(log_sinks, "SINK_RETRY_SECONDS_FIRST", 0.01)


def no_defect(defect: BaseException) -> None:
    raise AssertionError("nothing here is a defect") from defect


def webhook(function_log: FunctionLog, url: str) -> LogSink:
    settings = GatewaySettings("test", SECRET, sink_url=url)
    (sink,) = sinks_of(function_log, settings, no_defect)
    return sink


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def body() -> None:
        await asyncio.wait_for(scene(), PATIENCE_SECONDS)

    asyncio.run(body())


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("failures", [(500, 429), (404, 307)])
def test_a_receiver_that_fails_twice_gets_the_same_batch_until_it_takes_it(
    failures: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        function_log = FunctionLog()
        async with Receiver(*failures) as receiver:
            sink = webhook(function_log, receiver.url)
            sink.start()
            note(function_log, "a", "b")
            await receiver.wait_posts(3)
            await sink.stop()
            assert receiver.taken == [["a", "b"]] * 3 and sink.dropped == 0

    play(scene)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text for text in told if "trying again" in text] == [told[0]] and "delivered again" in told[-1]


@pytest.mark.usefixtures("quickly")
def test_a_post_is_signed_with_a_key_that_an_operator_can_derive() -> None:
    async def scene() -> None:
        function_log = FunctionLog()
        async with Receiver() as receiver:
            sink = webhook(function_log, receiver.url)
            sink.start()
            note(function_log, "a")
            await receiver.wait_posts(1)
            await sink.stop()
            headers, body = receiver.posts[0]
        key = hmac.new(SECRET, b"tidelog/log-sink", hashlib.sha256).digest()  # as docs/operations.md says
        assert headers["X-Tidelog-Signature"] == f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
        assert headers["Content-Type"] == "application/json"

    play(scene)


@pytest.mark.usefixtures("quickly")
def test_what_a_receiver_refuses_for_good_is_dropped_and_the_next_comes() -> None:
    async def scene() -> None:
        function_log = FunctionLog()
        async with Receiver(413) as receiver:
            sink = webhook(function_log, receiver.url)
            sink.start()
            note(function_log, "a")
            await receiver.wait_posts(1)
            note(function_log, "b")
            await receiver.wait_posts(2)
            await sink.stop()
            assert (receiver.taken, sink.dropped) == ([["a"], ["b"]], 1)

    play(scene)


@pytest.mark.usefixtures("quickly")
def test_while_a_receiver_is_silent_calls_go_on_and_the_oldest_are_dropped_and_counted() -> None:
    async def scene() -> None:
        function_log = FunctionLog()
        async with Receiver() as receiver:
            receiver.answers.clear()
            url = receiver.url
            sink = LogSink(
                function_log, webhook(function_log, url)._target, no_defect, SinkQueue(entries_max=5)
            )
            sink.start()
            note(function_log, "first")
            await receiver.wait_posts(1)
            note(function_log, *(str(number) for number in range(1_500)))  # more than the log itself keeps
            assert sink.dropped == 1_495
            receiver.answers.set()
            await receiver.wait_posts(2)
            await sink.stop()
            assert receiver.taken == [["first"], [str(number) for number in range(1_495, 1_500)]]

    play(scene)


def test_a_stop_delivers_what_waits_and_gives_up_a_receiver_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.sink_delivery.SINK_FLUSH_SECONDS_MAX", 0.1)

    async def scene() -> None:
        function_log = FunctionLog()
        async with Receiver() as receiver:
            sinks = [webhook(function_log, url) for url in (receiver.url, "http://127.0.0.1:9/in")]
            for sink in sinks:
                sink.start()
            note(function_log, "a")
            await sinks[0].stop()
            assert (receiver.taken, sinks[0].dropped) == ([["a"]], 0)
            await sinks[1].stop()
            assert sinks[1].dropped == 1
            assert not function_log.listeners

            receiver.answers.clear()
            silent = webhook(function_log := FunctionLog(), receiver.url)
            silent.start()
            note(function_log, "b")
            await silent.stop()
            assert silent.dropped == 1

    play(scene)


# --- the whole gateway --------------------------------------------------------------------------------


def test_the_gateway_feeds_every_sink_and_flushes_them_when_it_stops(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Receiver() as receiver:
            path = tmp_path / "executions.jsonl"
            settings = GatewaySettings(
                SETTINGS.instance_name, SECRET, sink_file=str(path), sink_url=receiver.url
            )
            server = GatewayServer(FakeBackend(), settings, port=0, site_port=None)
            await server.start()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                trace = "4bf92f3577b34da6a3ce929d0e0e4736"
                headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
                asked = {"path": "m:send", "args": {"body": "hey"}}
                await client.post("/api/mutation", json=asked, headers=headers)
            assert server.executions_dropped == 0
            await server.shutdown()
            (entry,) = entries_in(path)
            assert (entry["identifier"], entry["traceId"], entry["udfType"]) == ("m:send", trace, "Mutation")
            assert [orjson.loads(body) for _, body in receiver.posts] == [[entry]]

    play(scene)
