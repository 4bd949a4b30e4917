"""A mutation that a session sends again: its first result and log lines, and one commit (spec 04 11, T14).

The calls run in the real engine on a log on disk; a reconnecting client's own resending is in
tests/gateway/test_npm_client.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from actors.history import body_of
from gateway.backend import FunctionOutcome
from log.proven_log import ProvenLog
from log.record import RecordKind
from log.sqlite_reader import SqliteReader

from ..support.recorded import RecordedServer

SESSION = "session-1"
TEXT = {"text": "only once"}


def commits_of(folder: Path, path: str) -> int:
    reader = SqliteReader(folder / "log")
    records = [record for record in ProvenLog(reader).read_from(1) if record.kind is RecordKind.COMMIT]
    reader.close()
    return sum(body_of(record).trace.path == f"shop.js:{path}" for record in records)


def told(outcome: FunctionOutcome) -> tuple[object, ...]:
    return outcome.value, outcome.error, outcome.log_lines, outcome.ts


def test_a_committed_mutation_that_is_sent_again_is_answered_with_its_first_result_and_lines(
    tmp_path: Path,
) -> None:
    """At once, after others, at the same time, and by another server after a restart."""
    answers: list[FunctionOutcome] = []

    async def first_life() -> None:
        async with RecordedServer(tmp_path) as server:
            await server.push()
            answers.append(await server.mutate("note", TEXT, session=(SESSION, 1)))
            answers.append(await server.mutate("note", TEXT, session=(SESSION, 1)))
            await server.mutate("increment", {"name": "a"}, session=(SESSION, 2))
            again = (server.mutate("note", TEXT, session=(SESSION, 1)) for _ in range(3))
            answers.extend(await asyncio.gather(*again))

    async def second_life() -> None:
        async with RecordedServer(tmp_path) as server:
            answers.append(await server.mutate("note", TEXT, session=(SESSION, 1)))
            other = await server.mutate("note", TEXT, session=(SESSION, 3))
            assert other.value != answers[0].value, "another request is another call"

    asyncio.run(first_life())
    asyncio.run(second_life())
    assert answers[0].value and b"noting" in answers[0].log_lines
    assert {told(answer) for answer in answers} == {told(answers[0])}
    assert commits_of(tmp_path, "note") == 2, "one of each request"


def test_the_same_mutation_sent_twice_at_once_is_committed_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with RecordedServer(tmp_path) as server:
            await server.push()
            for number in range(10):
                first, second = await asyncio.gather(
                    *(server.mutate("increment", {"name": "a"}, session=(SESSION, number)) for _ in range(2))
                )
                assert told(first) == told(second) and first.value == b"%.1f" % (number + 1)

    asyncio.run(scene())
    assert commits_of(tmp_path, "increment") == 10


def test_a_mutation_that_failed_runs_again_when_it_is_sent_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with RecordedServer(tmp_path) as server:
            await server.push()
            for _ in range(2):
                outcome = await server.mutate("fail", {"text": "x"}, session=(SESSION, 1))
                assert outcome.error is not None and "changed my mind" in outcome.error.message
            assert (await server.mutate("note", TEXT, session=(SESSION, 1))).error is None

    asyncio.run(scene())
    assert commits_of(tmp_path, "fail") == 0 and commits_of(tmp_path, "note") == 1
