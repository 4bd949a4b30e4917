"""Why a mutant may survive. Keys are the mutant's name without its line: `file what: condition`."""

from __future__ import annotations

_MARK_RISES = "the mark of what is forgotten rises though nothing is: so old a call is refused, not judged"
_BLOCKS = "blocks have another length: slower or faster, never wrong"

_SLOWER = "more is looked at than needed, and then left out: slower, not wrong"
_NOTHING = "done over nothing, it gives nothing"
_ONE_PLACE = "the keys beside the catalog's marks leave no other place for the cursor"
_READER = "actors/view_reader.py"

REASONS = {
    f"{_READER} always: self._catalog_ts is None": _SLOWER,
    f"{_READER} always: state.applied_ts > self.ts": _NOTHING,
    f"{_READER} always: replaced": _NOTHING,
    f"{_READER} always: found": "without a position, the cursor's step back is a step to the last key",
    f"{_READER} never: found": _SLOWER,
    f"{_READER} never: found and cursor.key() > CATALOG_KEY + CATALOG_TS.pack(ts)": _ONE_PLACE,
    f"{_READER} dropped: found": _ONE_PLACE,
    f"{_READER} dropped: not found": _ONE_PLACE,
    f"{_READER} dropped: not cursor.key().startswith(CATALOG_KEY)": _ONE_PLACE,
    f"{_READER} dropped: _is_past(stored, start, end, descending)": _SLOWER,
    f"{_READER} dropped: group": _NOTHING,
    f"{_READER} dropped: stored[:KEY_PREFIX_BYTES] != group_prefix": (
        "neighbouring groups are ordered together, which is the same order"
    ),
    f"{_READER} always: is_grouped(stored)": "everything is collected and ordered: slower, not wrong",
    f"{_READER} dropped: end is None or row.key < end": "the scan has ended there already",
    f"{_READER} always: end is None": _SLOWER,
    f"{_READER} never: len(end) <= KEY_PREFIX_BYTES": _SLOWER,
    f"{_READER} always: descending": _SLOWER,
    f"{_READER} never: descending": _SLOWER,
    f"{_READER} dropped: prefix > end[:KEY_PREFIX_BYTES]": _SLOWER,
    f"{_READER} dropped: len(end) <= KEY_PREFIX_BYTES and prefix >= end": _SLOWER,
    f"{_READER} dropped: len(end) <= KEY_PREFIX_BYTES": (
        "**a gap of the tests**: an end with a prefix as long as a stored key keeps, at its very edge"
    ),
    "actors/index_view.py dropped: not present": "without a key the cursor gives an empty one",
    "actors/index_view.py dropped: stop": "**a gap of the tests**: the mark of a clean stop, alone",
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
    "log/write_log.py dropped: new_key != old_key": "a key remembered twice conflicts as if once",
    "log/write_log.py always: self._entries and self._entries[0].ts <= now_ts - age_ns_max": _MARK_RISES,
    "log/intervals.py dropped: isinstance(other, IntervalSet)": "only tests compare interval sets",
    "log/intervals.py dropped: list(self) == list(other)": "only tests compare interval sets",
}
