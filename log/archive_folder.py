"""The archive of one log: segments on disk, named by what they hold (spec 04 10.8).

`archive/<first seq>-<last seq>.log`, and nothing else that counts. A segment is written under another name,
synced, renamed, and the folder synced; then it is read back and compared, BEFORE anybody may take its
records out of the log. Nothing ever changes a segment.

The log's *base* says where the archive ends that counts. A segment behind it is *surplus*: whoever wrote it
died before the log gave its records up. It is whole, the log has its records, and the next archiving
replaces it. A segment that reaches behind the log's *end* is neither: it holds what the log has lost.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from log.archive import REMEDY, Segment, encode_segment
from log.committer import LogEnd
from log.record import Record
from log.store import LogDamaged

_UNFINISHED = "unfinished"
_NAME = re.compile(r"(\d{16})-(\d{16})\.log")


@dataclass(frozen=True, slots=True, order=True)
class SegmentFile:
    """A segment by its name."""

    first_seq: int
    last_seq: int
    path: Path


class ArchiveFolder:
    """See the module text. The folder need not exist before the first segment is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def files(self) -> list[SegmentFile]:
        """Every segment there is, in order."""
        if not self._path.is_dir():
            return []
        named = ((_NAME.fullmatch(path.name), path) for path in self._path.iterdir())
        return sorted(SegmentFile(int(name[1]), int(name[2]), path) for name, path in named if name)

    # --- reading ------------------------------------------------------------------------------------

    def read_from(self, seq: int, base: LogEnd) -> Iterator[Record]:
        """Records with at least this seq up to the base, proven, or LogDamaged names what is missing."""
        for segment in self._segments_from(seq, base):
            yield from segment.read_from(seq)

    def prove(self, base: LogEnd) -> int:
        """Prove every segment up to the base, each byte of it; returns how many those are."""
        count = 0
        for segment in self._segments_from(1, base):
            segment.check()
            count += 1
        return count

    def _segments_from(self, seq: int, base: LogEnd) -> Iterator[Segment]:
        """Those with records from `seq` on, opened one after the other, each a link of the log's chain."""
        wanted, end = seq, None  # the next record, and the one before it once that was read
        for file in self.files():
            if file.last_seq < wanted or file.first_seq > base.seq:
                continue
            if file.first_seq > wanted:
                break
            with _opened(file) as segment:
                follows = end is None or end == segment.before
                leads_to_base = segment.last.seq < base.seq or segment.last == base
                if not (follows and leads_to_base):
                    raise LogDamaged(f"The archive segment {file.path} is of another log. {REMEDY}")
                yield segment
                wanted, end = segment.last.seq + 1, segment.last
        if wanted <= base.seq:
            raise LogDamaged(
                f"The archive {self._path} lacks the segment that begins with record {wanted} "
                f"({wanted:016d}-....log); the log itself begins after record {base.seq}. {REMEDY}"
            )

    # --- writing ------------------------------------------------------------------------------------

    def write(self, before: LogEnd, records: Sequence[Record]) -> SegmentFile:
        """Make a segment of the records that follow `before`. AFTER this they are safe in the archive."""
        data = encode_segment(before, records)
        first_seq, last_seq = records[0].seq, records[-1].seq
        file = SegmentFile(first_seq, last_seq, self._path / f"{first_seq:016d}-{last_seq:016d}.log")
        self._make()
        unfinished = self._path / _UNFINISHED
        try:
            _write_synced(unfinished, data)
            os.rename(unfinished, file.path)
        finally:
            unfinished.unlink(missing_ok=True)
        _sync(self._path)
        if file.path.read_bytes() != data:
            raise LogDamaged(f"The disk did not keep what was written to {file.path}. The log is unchanged.")
        with _opened(file) as segment:
            segment.check()
        return file

    def remove_surplus(self, base: LogEnd) -> None:
        """Remove segments behind the base: the log holds their records (see `check_behind`)."""
        for file in self.files():
            if file.first_seq > base.seq:
                file.path.unlink()

    def check_behind(self, end: LogEnd) -> None:
        """Refuse a log that ends before its archive does: it was put back to an earlier state."""
        for file in self._ahead_of(end):
            raise LogDamaged(
                f"The log ends at record {end.seq}, but the archive holds record {file.last_seq} "
                f"({file.path}): {file.last_seq - end.seq} record(s) are missing. Restore the log from a "
                f"backup, or run `tidelog verify --accept-loss` to continue from record {end.seq}."
            )

    def set_aside(self, end: LogEnd) -> None:
        """The operator goes on from `end`: segments that know of more count no longer, and are kept."""
        for file in self._ahead_of(end):
            os.rename(file.path, file.path.with_suffix(".lost"))

    def _ahead_of(self, end: LogEnd) -> list[SegmentFile]:
        return [file for file in self.files() if file.last_seq > end.seq]

    def _make(self) -> None:
        if not self._path.is_dir():
            self._path.mkdir(parents=True, mode=0o700)
            _sync(self._path.parent)


@contextmanager
def _opened(file: SegmentFile) -> Iterator[Segment]:
    """The segment, which must be what its name says."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY)
    except OSError as failure:
        raise LogDamaged(f"The archive segment {file.path} cannot be read: {failure}. {REMEDY}") from failure
    try:
        size_bytes = os.fstat(descriptor).st_size
        segment = Segment(
            str(file.path), size_bytes, lambda offset, length: _pread(file, descriptor, offset, length)
        )
        if (segment.before.seq + 1, segment.last.seq) != (file.first_seq, file.last_seq):
            raise LogDamaged(
                f"The archive segment {file.path} holds records {segment.before.seq + 1} to "
                f"{segment.last.seq}, not what its name says. {REMEDY}"
            )
        yield segment
    finally:
        os.close(descriptor)


def _pread(file: SegmentFile, descriptor: int, offset: int, length: int) -> bytes:
    try:
        return os.pread(descriptor, length, offset)
    except OSError as failure:
        raise LogDamaged(
            f"The archive segment {file.path} cannot be read at byte {offset}: {failure}. {REMEDY}"
        ) from failure


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written : written + (1 << 20)])
        os.fsync(descriptor)
        # So that reading it back asks the disk, and not the memory it was copied from.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
