"""Kills the log's writer again and again, and looks at what is left after each time (spec 04 11, T3).

A log lives through `LIVES_PER_LOG` kills, then its view is compared with a fold of its records and the next
log begins. What is looked at after a kill is a copy where the store is a folder: the next life finds the
files exactly as the killed one left them.

Promises that are checked, by a list of what was acknowledged and nothing cleverer:
  - every acknowledged call is in the log, at the ts that was acknowledged;
  - every call in the log is whole, once, and the log is one chain with increasing ts;
  - the view that the next life recovers counts exactly the calls of the log.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from actors.runtime import Pauses
from cluster.stores import open_log_store
from log.invariant import InvariantViolation
from log.record import CHAIN_START_CRC, CommitBody, LogRun, Record, RecordKind
from log.sqlite_reader import SqliteReader
from log.store import LogDamaged

from ..support.postgres import PostgresServer
from . import writer
from .writer import CALLERS, Acknowledged, CallName, Orders, Started

LIVES_PER_LOG = 50
PASSES_MAX = 12
LIFE_SECONDS_MAX = 0.08
START_SECONDS_MAX = 0.04
STUCK_SECONDS = 60
WRITING, STARTING = "while it writes", "while it starts"
MOMENTS = (WRITING, STARTING, *Pauses.LABELS)

# A process that has imported everything, and forks: starting one costs milliseconds.
_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload([writer.__name__])


@dataclass(slots=True)
class Tally:
    """What happened to one store's writers."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)  # "in the log" | "not in the log"
    logs: int = 0
    seconds: float = 0.0
    fault: str | None = None

    @property
    def kills_held(self) -> int:
        return self.kills.total()


class SqliteLogs:
    """Where each log is: a folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self, number: int) -> str:
        return ""

    def records(self, number: int, life_folder: Path) -> list[Record]:
        """Read from a copy, as an operator who looks at one; the next life opens the files themselves."""
        copied = self._folder / "copied"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(life_folder / "log", copied)
        reader = SqliteReader(copied)
        try:
            return list(reader.read_from(1))
        finally:
            reader.close()

    def drop(self, number: int) -> None:
        """The folder is all there was."""


class PostgresLogs:
    """Where each log is: a schema of a real server."""

    name = "postgres"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def url(self, number: int) -> str:
        return self._server.url(f"soak_{number}")

    def records(self, number: int, life_folder: Path) -> list[Record]:
        """The dead writer's session may still be at work on its last batch. Taking the pen, as a successor
        does, settles it: whatever the session was doing has happened by then, or never will."""
        store = open_log_store(self.url(number), life_folder)
        try:
            store.claim_epoch()
            return list(store.read_from(1))
        finally:
            store.close()

    def drop(self, number: int) -> None:
        self._server.run(f"DROP SCHEMA soak_{number} CASCADE")


Logs = SqliteLogs | PostgresLogs


def kill_writers(logs: Logs, kills: int, seed: int, folder: Path, say: Callable[[str], None]) -> Tally:
    """That many kills, log after log, up to the first fault: a text with all one needs to do it again."""
    tally, began = Tally(), time.monotonic()
    while tally.kills_held < kills:
        tally.logs += 1
        lives = min(LIVES_PER_LOG, kills - tally.kills_held)
        log_folder = folder / f"{logs.name}-{tally.logs}"
        (log_folder / "log").mkdir(parents=True)
        try:
            _KilledLog(logs, tally, seed, log_folder).go_through(lives)
        except (AssertionError, InvariantViolation, LogDamaged) as broken:
            tally.fault = f"{type(broken).__name__}: {broken}"
            return tally
        logs.drop(tally.logs)
        shutil.rmtree(log_folder)
        tally.seconds = time.monotonic() - began
        say(f"{logs.name}: {tally.kills_held} kills held, {tally.seconds / tally.kills_held:.2f} s each")
    return tally


class _KilledLog:
    """One log and its lives. `acknowledged[caller][n]` is the ts its call n + 1 was told."""

    def __init__(self, logs: Logs, tally: Tally, seed: int, folder: Path) -> None:
        self._logs, self._tally, self._folder = logs, tally, folder
        self._seed, self._chance = seed, random.Random(f"{seed}/{logs.name}/{tally.logs}")
        self._acknowledged: list[list[int]] = [[] for _ in range(CALLERS)]
        self._has_started = False  # until then there may be no log, and there is nothing to look for
        self._expected_counters: tuple[int, ...] = (0,) * (CALLERS + 1)

    def go_through(self, lives: int) -> None:
        for life in range(1, lives + 1):
            moment = self._chance.choice(MOMENTS)
            facts = f"{self._logs.name}, seed {self._seed}, log {self._tally.logs}, life {life}, {moment}"
            self._live_and_die(moment, facts)
            self._check(facts)
            self._tally.kills[moment] += 1
        self._compare_view()

    # --- one life -----------------------------------------------------------------------------------

    def _live_and_die(self, moment: str, facts: str) -> None:
        pause = moment if moment in Pauses.LABELS else None
        seconds = self._chance.random() * (START_SECONDS_MAX if moment == STARTING else LIFE_SECONDS_MAX)
        orders = self._orders(pause, self._chance.randint(1, PASSES_MAX))
        with _process(writer.live, orders) as (process, pipe):
            if moment == STARTING:
                time.sleep(seconds)  # the moment of the kill is the random variable
                process.kill()
            told = _messages(pipe)
            first = next(told, None)
            if first is not None:
                self._has_started = True
                assert first == Started(self._expected_counters), f"the view counts what the log has: {facts}"
            elif moment != STARTING:
                raise AssertionError(f"a life starts: {facts}")
            deadline = time.monotonic() + (STUCK_SECONDS if pause else seconds)
            for message in _messages(pipe, until=deadline):
                self._note(message, facts)
            process.kill()
            for message in told:  # what it could still tell
                self._note(message, facts)
            process.join()
            assert process.exitcode == -signal.SIGKILL, f"it was killed, not ended by itself: {facts}"

    def _orders(self, pause: str | None, passes: int) -> Orders:
        last = tuple((len(own), own[-1] if own else 0) for own in self._acknowledged)
        url = self._logs.url(self._tally.logs)
        return Orders(self._folder, url, self._chance.getrandbits(32), last, pause, passes)

    def _note(self, message: Acknowledged, facts: str) -> None:
        own = self._acknowledged[message.caller]
        if message.number <= len(own):  # sent again by the next life
            assert own[message.number - 1] == message.ts, f"a resent call is told its ts: {message}, {facts}"
            return
        assert message.number == len(own) + 1, f"answers arrive in order: {message}, {facts}"
        own.append(message.ts)
        self._tally.acknowledged += 1

    # --- what is left -------------------------------------------------------------------------------

    def _check(self, facts: str) -> None:
        if not self._has_started:
            return
        records = self._logs.records(self._tally.logs, self._folder)
        calls = check_log(records, self._acknowledged, facts)
        for own, acknowledged in zip(calls, self._acknowledged, strict=True):
            self._tally.unanswered["in the log" if len(own) > len(acknowledged) else "not in the log"] += 1
        shared = sum(name.is_shared for own in calls for name in own)
        self._expected_counters = (*map(len, calls), shared)

    def _compare_view(self) -> None:
        """What the last of many recovered views holds is what the log's records fold to."""
        with _process(writer.look, self._orders(None, 0)) as (process, pipe):
            _, held = _messages(pipe)
            process.join()
        folded = fold(self._logs.records(self._tally.logs, self._folder))
        facts = f"{self._logs.name}, seed {self._seed}, log {self._tally.logs}"
        assert held.keys() == {key for key in folded if key in held}, f"nothing else is in the view: {facts}"
        pieces = {key: document for key, document in folded.items() if b'"caller"' in document}
        assert held == pieces, f"a recovered view is the fold of the log: {facts}"


def check_log(records: list[Record], acknowledged: list[list[int]], facts: str) -> list[list[CallName]]:
    """Raise unless the log holds what it must and nothing else; the calls it holds, by caller, in order."""
    LogRun(tuple(records)).check(CHAIN_START_CRC)
    calls: list[list[CallName]] = [[] for _ in range(CALLERS)]
    call_ids = set()
    for record in records:
        body = CommitBody.decode(record.body) if record.kind is RecordKind.COMMIT else None
        if body is None or not body.trace.args:
            continue
        name = CallName.decode(body.trace.args)
        own = calls[name.caller]
        assert name.number == len(own) + 1, f"each call has one effect, in order: {name}, {facts}"
        assert body.call_id == name.call_id and body.call_id not in call_ids, f"{name}, {facts}"
        assert len(body.writes) == name.writes, f"a call is there whole: {name}, {len(body.writes)}, {facts}"
        told = acknowledged[name.caller][name.number - 1 : name.number]
        assert not told or told == [record.ts], f"it is where its caller was told: {name}, {told}, {facts}"
        call_ids.add(body.call_id)
        own.append(name)
    for own, told in zip(calls, acknowledged, strict=True):
        assert len(told) <= len(own), f"no acknowledged call is lost: {len(own)} of {len(told)}, {facts}"
        assert len(own) <= len(told) + 1, (
            f"a caller has one call unanswered: {len(own)}, {len(told)}, {facts}"
        )
    return calls


def fold(records: list[Record]) -> dict[str, bytes]:
    """Every document that is alive at the end of the log."""
    documents: dict[str, bytes] = {}
    for record in records:
        for write in CommitBody.decode(record.body).writes if record.kind is RecordKind.COMMIT else ():
            if write.document is None:
                documents.pop(write.document_id, None)
            else:
                documents[write.document_id] = write.document
    return documents


@contextmanager
def _process(work: Callable[[Connection, Orders], None], orders: Orders) -> Iterator[tuple[Any, Connection]]:
    """A child at work, and what it tells. Gone after the block."""
    ours, theirs = _forking.Pipe(duplex=False)
    process = _forking.Process(target=work, args=(theirs, orders), daemon=True)
    process.start()
    theirs.close()  # else its end would never be seen
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _messages(pipe: Connection, until: float | None = None) -> Iterator[Any]:
    """What the process tells, until it is gone; with `until`, up to that moment and no longer."""
    while True:
        if not pipe.poll(STUCK_SECONDS if until is None else max(0.0, until - time.monotonic())):
            if until is None:
                raise AssertionError(f"the process says nothing for {STUCK_SECONDS} s")
            return
        try:
            yield pipe.recv()
        except (EOFError, OSError):  # OSError: it died within a message
            return
