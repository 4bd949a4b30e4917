"""The in-memory store passes the contract."""

from __future__ import annotations

from pathlib import Path

from log.store import LogStore, MemoryStore

from ..contracts.log_store_contract import LogStoreContract


class TestMemoryStore(LogStoreContract):
    def open_store(self, folder: Path) -> LogStore:
        return MemoryStore()
