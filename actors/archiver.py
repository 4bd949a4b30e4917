"""What may leave the log for the archive, and how it goes (spec 04 10.8). Nothing goes by itself.

A record may go when all of this holds:
  1. it is older than whoever asked wants to keep;
  2. a durable checkpoint that agrees with the log has folded it. A start goes on from the node's view if it
     trusts it, which is then at least as far, or else from that checkpoint: neither needs the archive.
     Where no checkpoint covers what is old enough, the view is brought up to the log and one is taken;
  3. it is further from the log's end than `limits.WRITE_WINDOW_SECONDS_MAX`: what a start recalls, so that
     a call whose answer was lost is recognised (actors/core.py), stays; so does the newest record.

Each segment goes in this order: written, synced and read back; THEN its records leave the log and the base
moves, in one transaction of a claimed epoch. Killed in between, the archive has a segment too many, and the
log is whole; the next run removes that segment first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.checkpoints import Checkpoints
from actors.index_shard import IndexShard
from actors.runtime import Pauses
from log import limits
from log.archived_log import ArchivedStore
from log.committer import NANOSECONDS
from log.proven_log import ProvenLog
from log.record import Record
from log.store import end_of


@dataclass(frozen=True, slots=True)
class Archived:
    """What one run did: records `first_seq` to `last_seq` went, in so many segments. None went when
    `last_seq` is before `first_seq`; `old_seq` is the last that was old enough to go."""

    first_seq: int
    last_seq: int
    segments: int
    old_seq: int


def archive_log(store: ArchivedStore, views_folder: Path, oldest_ts: int) -> Archived:
    """Move what may go, and is from before `oldest_ts`. Nobody else may use log and views meanwhile."""
    first_seq, old_seq = store.base().seq + 1, _old_seq(store, oldest_ts)
    if old_seq < first_seq:
        return Archived(first_seq, first_seq - 1, 0, old_seq)
    last_seq = min(old_seq, _covered_seq(store, views_folder, old_seq))
    epoch = store.claim_epoch()  # BEFORE anything is written: nobody else archives from here on
    store.archive.remove_surplus(store.base())
    segments = 0
    while store.base().seq < last_seq:
        base = store.base()
        records = _segment(ProvenLog(store.held, base).read_from(base.seq + 1), last_seq)
        store.archive.write(base, records)
        store.truncate(epoch, end_of(records[-1]))  # AFTER the segment is safe
        segments += 1
    return Archived(first_seq, max(last_seq, first_seq - 1), segments, old_seq)


def _old_seq(store: ArchivedStore, oldest_ts: int) -> int:
    """The last record that is old enough to go; the last archived one when none is."""
    end = store.end()
    before_ts = min(oldest_ts, end.ts - limits.WRITE_WINDOW_SECONDS_MAX * NANOSECONDS) - 1
    return min(ProvenLog(store.held, store.base()).seq_at(before_ts), max(end.seq - 1, store.base().seq))


def _covered_seq(store: ArchivedStore, views_folder: Path, wanted_seq: int) -> int:
    """How far a durable checkpoint has folded this log, after taking one if that is not far enough."""
    checkpoints = Checkpoints(views_folder)
    shard = IndexShard(views_folder, Pauses(), store)  # drops checkpoints of another log
    try:
        if checkpoints.covered_seq() < wanted_seq:
            shard.catch_up(store)
            shard.take_checkpoint()
    except BaseException:
        shard.close(clean=False)
        raise
    shard.close(clean=True)
    return checkpoints.covered_seq()


def _segment(records: Iterator[Record], last_seq: int) -> list[Record]:
    """The records of the next segment: as many as fit, at least one, none behind `last_seq`."""
    taken: list[Record] = []
    bytes_taken = 0
    for record in records:
        bytes_taken += len(record.body)
        if record.seq > last_seq or (taken and bytes_taken > limits.ARCHIVE_SEGMENT_BYTES):
            break
        taken.append(record)
    return taken
