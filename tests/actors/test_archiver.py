"""What leaves the log for the archive, that a start stays whole whenever the run is killed, and rebuilds."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from actors.archiver import Archived, archive_log
from actors.checkpoints import Checkpoints
from actors.index_view import IndexView
from cluster.stores import open_log_store
from functions.transaction import Transaction
from log import limits
from log.committer import NANOSECONDS
from log.record import Record
from log.store import LogDamaged

from ..support.core_deployment import CoreDeployment

SEED = 20261127
KILLS = 25
_TRACED = ("log/archive_folder.py", "log/archived_log.py", "log/sqlite_store.py", "actors/archiver.py")


@pytest.fixture(autouse=True)
def everything_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is too near to the log's end to go, and segments hold a few records."""
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", 0)
    monkeypatch.setattr(limits, "ARCHIVE_SEGMENT_BYTES", 5_000)


def write(rng: random.Random) -> Callable[[Transaction], None]:
    """Some inserts, an overwrite, a delete."""

    def run(transaction: Transaction) -> None:
        ids = [transaction.insert("things", {"key": str(rng.randrange(50))}) for _ in range(4)]
        table = transaction.catalog.tables["things"]
        transaction.patch(table, ids[0], {"key": "moved"})
        transaction.delete(table, ids[1])

    return run


def play(folder: Path, scene: Callable[[CoreDeployment], Awaitable[None]], seed: int = SEED) -> None:
    """A scene on the deployment in `folder`, from its start to its clean stop."""

    async def whole() -> None:
        deployment = CoreDeployment(folder, seed)
        await deployment.open()
        try:
            await scene(deployment)
        finally:
            await deployment.close()

    asyncio.run(whole())


def played(folder: Path, commits: int = 12, seed: int = SEED) -> dict[str, str]:
    """A stopped deployment with some commits more; the digests of its view."""
    digests: dict[str, str] = {}

    async def scene(deployment: CoreDeployment) -> None:
        for _ in range(commits):
            await deployment.transact(write(deployment.rng))
        digests.update(deployment.digests())

    play(folder, scene, seed)
    return digests


def started(folder: Path) -> tuple[dict[str, str], int]:
    """What a start holds, and how many records it folded for that."""
    found: list[Any] = []

    async def scene(deployment: CoreDeployment) -> None:
        found.extend((deployment.digests(), deployment.core.records_replayed))

    play(folder, scene)
    return found[0], found[1]


def archive(folder: Path, oldest_ts: int | None = None) -> Archived:
    store = open_log_store("", folder / "log")
    try:
        return archive_log(store, folder / "views", time.time_ns() if oldest_ts is None else oldest_ts)
    finally:
        store.close()


def records_of(folder: Path) -> list[Record]:
    """All there are, proven at the opening, and by every segment."""
    store = open_log_store("", folder / "log")
    try:
        store.prove_archive()
        return list(store.read_from(1))
    finally:
        store.close()


# --- nothing changes ---------------------------------------------------------------------------------


def test_a_start_after_archiving_holds_the_same_from_the_view_the_checkpoint_and_the_whole_log(
    tmp_path: Path,
) -> None:
    digests, records = played(tmp_path), records_of(tmp_path)
    done = archive(tmp_path)
    assert (done.first_seq, done.last_seq) == (1, len(records) - 1) and done.segments > 3
    assert records_of(tmp_path) == records
    assert started(tmp_path) == (digests, 0), "from the view, whose last stop was clean"
    shutil.rmtree(tmp_path / "views" / "000001")
    assert started(tmp_path) == (digests, 1), "from the checkpoint: the epoch since"
    shutil.rmtree(tmp_path / "views")
    found, folded = started(tmp_path)
    assert found == digests and folded == len(records) + 2, "from the archive and the log"


def test_a_start_from_the_checkpoint_reads_no_archive(tmp_path: Path) -> None:
    digests = played(tmp_path)
    archive(tmp_path)
    shutil.rmtree(tmp_path / "archive")
    shutil.rmtree(tmp_path / "views" / "000001")
    assert started(tmp_path)[0] == digests


def test_a_start_that_needs_a_missing_or_damaged_segment_is_refused_with_its_name(tmp_path: Path) -> None:
    played(tmp_path)
    archive(tmp_path)
    segment = sorted((tmp_path / "archive").iterdir())[1]
    pristine = segment.read_bytes()
    shutil.rmtree(tmp_path / "views")
    segment.write_bytes(pristine[:200] + b"?" + pristine[201:])
    with pytest.raises(LogDamaged, match=rf"{segment} is damaged at byte .*backup"):
        started(tmp_path)
    segment.unlink()
    with pytest.raises(
        LogDamaged, match=rf"lacks the segment that begins with record {int(segment.name[:16])} "
    ):
        started(tmp_path)
    segment.write_bytes(pristine)
    shutil.rmtree(tmp_path / "views")
    assert len(started(tmp_path)[0]) > 20


def test_archiving_again_goes_on_where_it_ended(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    done, digests = Archived(1, 0, 0, 0), dict[str, str]()
    for step in range(4):
        digests = played(tmp_path, rng.randrange(1, 8), seed=SEED + step)
        before, previous = records_of(tmp_path), done
        done = archive(tmp_path)
        assert done.first_seq == previous.last_seq + 1 and done.last_seq == len(before) - 1, (SEED, step)
        assert records_of(tmp_path) == before, (SEED, step)
    shutil.rmtree(tmp_path / "views")
    assert started(tmp_path)[0] == digests


# --- what may go -------------------------------------------------------------------------------------


def test_what_is_younger_than_asked_stays(tmp_path: Path) -> None:
    played(tmp_path)
    records = records_of(tmp_path)
    for last in (4, 9):
        done = archive(tmp_path, oldest_ts=records[last].ts)
        assert done.last_seq == records[last].seq - 1 == done.old_seq
    done = archive(tmp_path, oldest_ts=records[9].ts)
    assert (done.segments, done.last_seq) == (0, 9), "nothing is left to go"
    assert records_of(tmp_path) == records


def test_what_a_start_recalls_and_the_newest_record_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(tmp_path)
    records = records_of(tmp_path)
    between = (records[5].ts + records[6].ts) // 2
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", (records[-1].ts - between) / NANOSECONDS)
    assert archive(tmp_path).last_seq == records[5].seq
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", 0)
    assert archive(tmp_path).last_seq == records[-2].seq


def test_nothing_goes_that_no_checkpoint_covers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(view: IndexView, target: Path) -> None:
        raise OSError("No space left on device")

    digests = played(tmp_path)
    records = records_of(tmp_path)
    monkeypatch.setattr(IndexView, "copy_to", refuse)
    done = archive(tmp_path)
    assert done == Archived(1, 0, 0, records[-2].seq)
    monkeypatch.undo()
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", 0)
    archive(tmp_path, oldest_ts=records[5].ts)  # takes a checkpoint, of everything there is
    covered = Checkpoints(tmp_path / "views").covered_seq()
    assert covered == len(records)
    digests = played(tmp_path, seed=SEED + 1)
    monkeypatch.setattr(IndexView, "copy_to", refuse)
    done = archive(tmp_path)
    assert (done.first_seq, done.last_seq) == (6, covered) and done.old_seq > covered
    shutil.rmtree(tmp_path / "views" / "000001")
    assert started(tmp_path)[0] == digests


def test_a_checkpoint_of_another_log_covers_nothing(tmp_path: Path) -> None:
    played(tmp_path / "theirs", 20)
    archive(tmp_path / "theirs")
    digests = played(tmp_path / "ours", 8)
    shutil.copytree(tmp_path / "theirs/views/checkpoints", tmp_path / "ours/views/checkpoints")
    archive(tmp_path / "ours")
    shutil.rmtree(tmp_path / "ours/views/000001")
    assert started(tmp_path / "ours")[0] == digests


# --- killed ------------------------------------------------------------------------------------------


def test_a_run_killed_at_any_line_leaves_a_log_that_starts_whole_and_the_next_run_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(SEED)
    pristine = tmp_path / "pristine"
    digests = played(pristine)
    records = records_of(pristine)
    shutil.copytree(pristine, tmp_path / "counted")
    lines = killed_after(tmp_path / "counted", None)
    outcomes = set()
    for line in sorted(rng.sample(range(lines), KILLS)):
        folder = tmp_path / f"killed-{line}"
        shutil.copytree(pristine, folder)
        assert killed_after(folder, line) is None, (SEED, line)
        assert records_of(folder) == records, (SEED, line)
        if rng.random() < 0.3:
            shutil.rmtree(folder / "views")
        outcomes.add((len(list((folder / "archive").glob("*"))), archive(folder).first_seq))
        assert records_of(folder) == records, (SEED, line)
        shutil.rmtree(folder / "views")
        assert started(folder)[0] == digests, (SEED, line)
        shutil.rmtree(folder)
    assert len(outcomes) > 4, "it was killed in different places"


def killed_after(folder: Path, lines: int | None) -> int | None:
    """Archive in a process of its own, which is killed in front of the `lines`-th line of the files that
    archive; None if it was. Without a number: how many lines there are."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            counted = _traced(lambda: archive(folder), lines)
            os.write(writable, str(counted).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as said:
        counted = said.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    return int(counted)


def _traced(work: Callable[[], object], lines_max: int | None) -> int:
    counted = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal counted
        if not frame.f_code.co_filename.endswith(_TRACED):
            return None
        if event == "line":
            if counted == lines_max:
                os.kill(os.getpid(), signal.SIGKILL)
            counted += 1
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return counted
