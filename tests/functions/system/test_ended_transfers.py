"""Exports and imports are forgotten some time after they ended, and never before."""

from __future__ import annotations

import random
from typing import Any

import pytest

from functions.system import exports, imports
from functions.system.exports import EXPORTS
from functions.system.garbage import collect_step
from functions.system.imports import IMPORTS
from functions.transaction import Transaction
from log.blob_store import StoredBlob
from log.errors import BackendError
from log.limits import ENDED_TRANSFER_RETENTION_DAYS, EXPORT_DAYS

from ...support.deployment import Deployment

DAY_NS = 86_400 * 1_000_000_000
KEPT_NS = ENDED_TRANSFER_RETENTION_DAYS * DAY_NS
ZIP = StoredBlob("zip", b"sha", 1)


class Clocked:
    """A deployment whose clock stands where it is put."""

    def __init__(self) -> None:
        self.deployment = Deployment()
        self.database = self.deployment.database

    def at(self, ns: int) -> None:
        self.database.now_ns = ns

    @property
    def now_ns(self) -> int:
        return self.database.now_ns

    def collect(self) -> int:
        """How many rows are deleted now."""
        return self.database.transact(lambda transaction: collect_step(transaction, self.now_ns / 1e6))

    def is_there(self, row_id: str) -> bool:
        return row_id in {row["_id"] for name in (EXPORTS, IMPORTS) for row in self.database.documents(name)}

    # --- exports ------------------------------------------------------------------------------------

    def export(self, end: str) -> tuple[str, int]:
        """(id, when it was over) of an export that ended so."""
        export_id: str = self.deployment.operate("request_export")["id"]
        if end in ("in_progress", "completed", "failed"):
            self.database.transact(lambda tx: exports.begin_export(tx, export_id, self.now_ns))
        ended_ns = self.now_ns
        if end == "completed":
            self.database.transact(lambda tx: exports.complete_export(tx, export_id, ZIP, ended_ns))
            ended_ns = self._row(export_id)["expiration_ts"]
        elif end == "failed":
            self.database.transact(lambda tx: exports.fail_export(tx, export_id, ended_ns))
        elif end == "canceled":
            self.deployment.operate("cancel_export", {"id": export_id})
        return export_id, ended_ns

    # --- imports ------------------------------------------------------------------------------------

    def upload(self) -> str:
        asked = {"format": "zip", "mode": "replace"}
        body = {"import": asked, "objectKey": "upload"}
        answer: dict[str, str] = self.deployment.operate("create_import", body)
        return answer["importId"]

    def end_import(self, import_id: str, end: str) -> int:
        """When it came to be so."""
        if end in ("waiting_for_confirmation", "in_progress", "completed"):
            self.database.transact(lambda tx: imports.ask_confirmation(tx, import_id, []))
        if end in ("in_progress", "completed"):
            self.deployment.operate("perform_import", {"importId": import_id})
        ended_ns = self.now_ns
        if end == "completed":
            self.database.transact(lambda tx: imports.begin_import(tx, import_id, [], {}))
            self.database.transact(lambda tx: imports.complete_import(tx, import_id, 0, ended_ns))
        elif end == "failed":
            self.database.transact(lambda tx: imports.fail_import(tx, import_id, "no"))
        elif end == "canceled":
            self.deployment.operate("cancel_import", {"importId": import_id})
        return ended_ns

    def _row(self, row_id: str) -> dict[str, Any]:
        return next(row for row in self.database.documents(EXPORTS) if row["_id"] == row_id)


@pytest.fixture
def clocked() -> Clocked:
    return Clocked()


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
def test_an_export_is_forgotten_a_month_after_nobody_can_have_it_any_more(clocked: Clocked, end: str) -> None:
    export_id, over_ns = clocked.export(end)
    assert (over_ns - clocked.now_ns > (EXPORT_DAYS - 1) * DAY_NS) == (end == "completed")
    clocked.at(over_ns + KEPT_NS - 1_000_000)
    assert clocked.collect() == 0 and clocked.is_there(export_id)
    clocked.at(over_ns + KEPT_NS + 1_000_000)
    assert clocked.collect() == 1 and not clocked.is_there(export_id)
    assert clocked.deployment.query("_system/frontend/latestExport.js:default") is None
    with pytest.raises(BackendError) as raised:
        clocked.deployment.operate("locate_export", {"snapshot": export_id})
    assert raised.value.code == "ExportNotFound"


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
def test_an_import_is_forgotten_a_month_after_its_end_however_long_it_had_waited(
    clocked: Clocked, end: str
) -> None:
    import_id = clocked.upload()
    clocked.at(clocked.now_ns + 5 * KEPT_NS)
    over_ns = clocked.end_import(import_id, end)
    assert clocked.collect() == 0
    clocked.at(over_ns + KEPT_NS - 1_000_000)
    assert clocked.collect() == 0 and clocked.is_there(import_id)
    clocked.at(over_ns + KEPT_NS + 1_000_000)
    assert clocked.collect() == 1 and not clocked.is_there(import_id)
    assert clocked.deployment.query("_system/cli/queryImport.js:default", importId=import_id) is None


@pytest.mark.parametrize("state", ["requested", "in_progress"])
def test_an_export_that_is_under_way_is_never_forgotten(clocked: Clocked, state: str) -> None:
    export_id, _ = clocked.export(state)
    clocked.at(clocked.now_ns + 100 * KEPT_NS)  # its expiration is long past
    assert clocked.collect() == 0 and clocked.is_there(export_id)


@pytest.mark.parametrize("state", ["uploaded", "waiting_for_confirmation", "in_progress"])
def test_an_import_that_has_not_ended_is_never_forgotten(clocked: Clocked, state: str) -> None:
    import_id = clocked.upload()
    clocked.end_import(import_id, state)
    clocked.at(clocked.now_ns + 100 * KEPT_NS)
    assert clocked.collect() == 0 and clocked.is_there(import_id)


def test_an_import_that_failed_before_its_end_was_written_down_goes_by_its_beginning(
    clocked: Clocked,
) -> None:
    import_id = clocked.upload()
    begun_ns = clocked.now_ns
    clocked.end_import(import_id, "failed")

    def forget_the_end(transaction: Transaction) -> None:
        table = transaction.catalog.tables[IMPORTS]
        row = imports.read_import(transaction, import_id)
        assert row is not None and "failed_ts" in row
        fields = {name: row[name] for name in row if name != "failed_ts"}
        transaction.replace(table, import_id, fields)

    clocked.database.transact(forget_the_end)
    clocked.at(begun_ns + KEPT_NS - DAY_NS)
    assert clocked.collect() == 0
    clocked.at(begun_ns + KEPT_NS + DAY_NS)
    assert clocked.collect() == 1 and not clocked.is_there(import_id)


def test_exports_that_are_kept_for_years_do_not_hide_those_behind_them(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.system.garbage.GARBAGE_ROWS_PER_STEP", rows_per_step := 8)
    rng = random.Random(seed := 4)
    kept, gone = set(), set()
    for _ in range(2 * rows_per_step + 20):
        export_id, _ = clocked.export("completed")
        if len(kept) < rows_per_step + 5 and rng.random() < 0.9:
            body = {"id": export_id, "expirationTsNs": clocked.now_ns + 1_000 * DAY_NS}
            clocked.deployment.operate("set_export_expiration", body)
            kept.add(export_id)
        else:
            gone.add(export_id)
    clocked.at(clocked.now_ns + 2 * KEPT_NS)
    steps = [clocked.collect() for _ in range(4)]
    assert max(steps) <= rows_per_step and steps[-1] == 0, f"seed {seed}"
    assert sum(steps) == len(gone) and all(map(clocked.is_there, kept)), f"seed {seed}"
    assert not any(map(clocked.is_there, gone)), f"seed {seed}"
