"""The epoch fences a writer that was only paused (design D5): a real process, stopped and continued."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from log.sqlite_store import SqliteStore
from log.store import EpochLost

from ..contracts.log_store_contract import make_records

ANSWER_SECONDS_MAX = 30


def write_when_asked(folder: Path, pipe: Connection) -> None:
    """A writer in a process of its own: each message makes it append one record and tell how that went."""
    store = SqliteStore(folder)
    epoch = store.claim_epoch()
    while pipe.recv():
        try:
            store.append_and_sync(epoch, make_records(store.end(), 1, epoch))
            pipe.send("appended")
        except EpochLost:
            pipe.send("refused")


def answer(pipe: Connection) -> str:
    assert pipe.poll(ANSWER_SECONDS_MAX), "the writer does not answer"
    return str(pipe.recv())


def test_a_writer_continued_after_its_successor_claimed_the_epoch_appends_nothing(tmp_path: Path) -> None:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    paused = spawning.Process(target=write_when_asked, args=(tmp_path, theirs), daemon=True)
    paused.start()
    try:
        ours.send(True)
        assert answer(ours) == "appended"
        os.kill(paused.pid or 0, signal.SIGSTOP)
        (tmp_path / "lock").unlink()  # it refuses a second server on one machine; it is not the fence
        successor = SqliteStore(tmp_path)
        epoch = successor.claim_epoch()
        os.kill(paused.pid or 0, signal.SIGCONT)
        ours.send(True)
        assert answer(ours) == "refused", "nothing of the paused writer is stored from the claim on"
        successor.append_and_sync(epoch, make_records(successor.end(), 1, epoch))
        ours.send(True)
        assert answer(ours) == "refused"
        successor.close()
    finally:
        paused.kill()
        paused.join()
    reopened = SqliteStore(tmp_path)  # proves the chain
    assert [record.epoch for record in reopened.read_from(1)] == [epoch - 1, epoch]
    reopened.close()
