"""Why a mutant may survive. Keys are the mutant's name without its line: `file what: condition`."""

from __future__ import annotations

_MARK_RISES = "the mark of what is forgotten rises though nothing is: so old a call is refused, not judged"
_BLOCKS = "blocks have another length: slower or faster, never wrong"

REASONS = {
    "log/write_log.py dropped: self._entries[0].ts <= now_ts - age_ns_max": _MARK_RISES,
    "actors/projections/interval_index.py always: len(block.entries) > _BLOCK_LENGTH_MAX": _BLOCKS,
    "actors/projections/interval_index.py never: len(block.entries) > _BLOCK_LENGTH_MAX": _BLOCKS,
    "actors/projections/interval_index.py never: block.end_max is not None and block.end_max <= key": (
        "a block that cannot hold the key is looked into: slower, not wrong"
    ),
    "actors/index_view.py always: previous is not None": "deleting what is not there changes nothing",
    "actors/index_view.py dropped: old_key != new_key": "the entry is deleted and put again",
    "actors/index_view.py dropped: removed < _PRUNE_ENTRIES_MAX": "a call prunes all: longer, not wrong",
    'actors/index_view.py dropped: b""': "no mark is like no other; a put document has bytes",
    "actors/index_view.py dropped: self.state.applied_seq == 0": (
        "a view that has folded nothing is made anew: nothing is lost"
    ),
    "actors/index_view.py always: with_undo": (
        "undo that nobody may read is written and pruned: slower, not wrong"
    ),
    "actors/projections/interval_index.py always: None in ends": (
        "the block counts as unbounded and is looked into each time: slower, not wrong"
    ),
    "log/committer.py always: commit.ts > self._write_log.forgotten_ts": (
        "the oldest recalled commit is remembered too; nothing is judged against it"
    ),
    "log/write_log.py dropped: new_key != old_key": "a key remembered twice conflicts as if once",
    "log/write_log.py always: self._entries and self._entries[0].ts <= now_ts - age_ns_max": _MARK_RISES,
    "log/intervals.py dropped: isinstance(other, IntervalSet)": "only tests compare interval sets",
    "log/intervals.py dropped: list(self) == list(other)": "only tests compare interval sets",
}
