"""Which blobs somebody still names: files, exports that can be downloaded, uploads of imports under way.

Whoever deletes bytes asks here first (actors/blob_collector.py). While an export is requested or under way
everything counts as named: it reads an older snapshot, whose files may have been deleted since.
"""

from __future__ import annotations

from collections.abc import Sequence

from functions.indexes import BACKFILLED, ENABLED
from functions.system.exports import is_export_under_way, zips_in_use
from functions.system.files import BY_STORAGE_KEY, FILES
from functions.system.imports import uploads_in_use
from functions.transaction import Transaction
from log.keys import encode_item


def blobs_in_use(transaction: Transaction, keys: Sequence[str]) -> set[str]:
    """Those of the blobs that are named; all of them while that cannot be known."""
    table = transaction.catalog.tables[FILES]
    index = table.index(BY_STORAGE_KEY)
    is_index_whole = index is not None and index.state in (BACKFILLED, ENABLED)
    if not is_index_whole or is_export_under_way(transaction):
        return set(keys)
    of_files = {key for key in keys if transaction.first(table, BY_STORAGE_KEY, encode_item(key)) is not None}
    of_transfers = zips_in_use(transaction, transaction.now_ns) | uploads_in_use(transaction)
    return of_files | (set(keys) & of_transfers)
