"""What sinks do with an execution that cannot be encoded, and with a failure that nobody expected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import pytest

from gateway import log_sinks
from gateway.backend import FunctionCall, FunctionError, FunctionOutcome, GatewaySettings
from gateway.function_log import Execution, FunctionLog
from gateway.log_sinks import SinkQueue, Verdict
from gateway.server import GatewayServer
from gateway.sink_delivery import LogSink
from gateway.sink_targets import FileTarget, encode_batch
from log.identity import UNKNOWN
from log.invariant import InvariantViolation

from ..support.fake_backend import SETTINGS, FakeBackend

PATIENCE_SECONDS = 20
BROKEN = "\ud800"
"""An error's text that no UTF-8 can say."""


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sinks, "SINK_BATCH_SECONDS", 0.01)
    monkeypatch.setattr(log_sinks, "SINK_RETRY_SECONDS_FIRST", 0.01)


class RecordingTarget:
    """Answers with what it is told to, then takes everything; an exception is raised instead."""

    name = "recording"

    def __init__(self, *answers: Verdict | Exception) -> None:
        self._answers = list(answers)
        self.taken: list[list[str]] = []
        self._changed = asyncio.Event()

    async def deliver(self, entries: Sequence[bytes]) -> tuple[Verdict, str]:
        self.taken.append([orjson.loads(entry)["requestId"] for entry in entries])
        self._changed.set()
        answer = self._answers.pop(0) if self._answers else Verdict.DELIVERED
        if isinstance(answer, Exception):
            raise answer
        return answer, "told to"

    async def wait_taken(self, count: int) -> None:
        while len(self.taken) < count:
            self._changed.clear()
            await self._changed.wait()


def note(function_log: FunctionLog, **errors: str | None) -> None:
    """An execution for each name, that failed with this text or succeeded."""
    for name, text in errors.items():
        error = FunctionError(text) if text is not None else None
        outcome = FunctionOutcome(None, error, b"[]", 1, udf_type="Query")
        function_log.add(FunctionCall("m.js:f", b"[]", UNKNOWN, request_id=name), outcome, "Query", 5.0)


def noted(**errors: str | None) -> list[Execution]:
    function_log = FunctionLog()
    note(function_log, **errors)
    return function_log.after(0)[0]


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), PATIENCE_SECONDS))  # type: ignore[arg-type]


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


# --- an execution that cannot be encoded --------------------------------------------------------------


def test_the_others_of_a_batch_are_encoded_in_order() -> None:
    batch = noted(a=None, b=BROKEN, c="an error", d=BROKEN)
    encoded = encode_batch(batch)
    assert encoded.executions == [batch[0], batch[2]]
    assert [orjson.loads(entry)["requestId"] for entry in encoded.entries] == ["a", "c"]
    assert [execution for execution, _ in encoded.failures] == [batch[1], batch[3]]


def test_what_a_batch_is_narrowed_by_is_dropped_once_and_the_rest_is_tried_again() -> None:
    queue, batch = SinkQueue(), noted(a=None, b=BROKEN, c=None)
    queue.add(batch, 0.0)
    queue.narrow([each for each in queue.take() if each.error is None])
    queue.settle(Verdict.FAILED, 0.0)
    assert queue.take() == [batch[0], batch[2]] and queue.dropped == 1
    queue.narrow([])
    assert queue.is_empty and queue.dropped == 3
    queue.add(batch, 0.0)
    assert queue.due_seconds(1.0) == 0, "the next batch waits for no failure of the one before"
    with pytest.raises(InvariantViolation):
        queue.narrow([])


def test_it_alone_is_dropped_counted_and_told_once_and_the_batch_is_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        function_log, target, defects = FunctionLog(), RecordingTarget(Verdict.FAILED), list[BaseException]()
        sink = LogSink(function_log, target, defects.append)
        sink.start()
        note(function_log, a=None, b=BROKEN, c=None)
        await target.wait_taken(2)
        await sink.stop()
        assert (target.taken, sink.dropped, defects) == ([["a", "c"]] * 2, 1, [])

    play(scene)
    assert errors_of(caplog) == ["recording: 1 executions cannot be encoded, the first one of m.js:f"]
    assert "recording: 1 executions were dropped" in caplog.text


def test_a_batch_of_nothing_else_reaches_no_target_and_the_next_one_does(tmp_path: Path) -> None:
    async def scene() -> None:
        path, function_log, defects = tmp_path / "executions.jsonl", FunctionLog(), list[BaseException]()
        queue = SinkQueue()
        sink = LogSink(function_log, FileTarget(path), defects.append, queue)
        sink.start()
        note(function_log, a=BROKEN, b=BROKEN)
        while not queue.is_empty:
            await asyncio.sleep(0.01)
        assert not path.exists()
        note(function_log, c=None)
        await sink.stop()
        assert [orjson.loads(line)["requestId"] for line in path.read_bytes().splitlines()] == ["c"]
        assert (sink.dropped, defects) == (2, [])

    play(scene)


# --- a failure that nobody expected -------------------------------------------------------------------


def test_a_target_that_breaks_is_a_defect_and_a_stop_still_ends() -> None:
    async def scene() -> None:
        broken, defects, told = RuntimeError("a defect of ours"), list[BaseException](), asyncio.Event()

        def on_defect(defect: BaseException) -> None:
            defects.append(defect)
            told.set()

        function_log, target = FunctionLog(), RecordingTarget(broken)
        sink = LogSink(function_log, target, on_defect)
        sink.start()
        note(function_log, a=None)
        await told.wait()
        note(function_log, b=None)
        await sink.stop()
        assert defects == [broken] and target.taken == [["a"]]
        assert sink.dropped == 2, "what it had is given up, and counted"

    play(scene)


def test_a_defect_of_a_sink_stops_the_gateway_and_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_target: FileTarget, _entries: Sequence[bytes]) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(FileTarget, "_write", broken)
    settings = GatewaySettings(SETTINGS.instance_name, b"k" * 32, sink_file=str(tmp_path / "sink.jsonl"))

    async def scene() -> None:
        server = GatewayServer(FakeBackend(), settings, port=0, site_port=None)
        serving = asyncio.create_task(server.serve())
        while server.core is None or not server._sinks:
            await asyncio.sleep(0.01)
        note(server.core.function_log, a=None)
        with pytest.raises(RuntimeError, match="a defect of ours"):
            await serving
        await server.shutdown()

    play(scene)
    assert "a promise of the gateway is broken: stopping" in caplog.text
