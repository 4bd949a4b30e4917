"""The module tables: which module is which text, and the texts by their hash (spec 02 5, design D13).

`_modules` says what is active; `_module_sources` is content-addressed, so a push brings only what changed
and a text is stored once. Promise: after each operation every hash that an active module or the staged push
names has its text; texts that nobody names any more are deleted by the operation that dropped them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from functions.catalog import Catalog
from functions.images import ModuleText, read_module
from functions.snapshot import SnapshotReader
from functions.system import errors
from functions.system.push_request import PushedModule, PushRequest, UnchangedModule
from functions.transaction import Transaction
from log.keys import encode_item


@dataclass(frozen=True, slots=True)
class StagedModule:
    """A row of `_modules` to be: `analysis` is the JSON text stored as `analyzeResult`."""

    path: str
    sha256: str
    environment: str
    analysis: str

    def to_fields(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "sha256": self.sha256,
            "environment": self.environment,
            "analyzeResult": self.analysis,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> StagedModule:
        return cls(fields["path"], fields["sha256"], fields["environment"], fields["analyzeResult"])


def module_hashes(catalog: Catalog) -> list[dict[str, str]]:
    """What the CLI compares its bundle with, `_deps/*` and `auth.config.js` included (spec 02 5)."""
    return [
        {"path": module.path, "hash": module.sha256, "environment": module.environment}
        for module in sorted(catalog.modules.values(), key=lambda module: module.path)
    ]


def assemble(request: PushRequest, catalog: Catalog, snapshot: SnapshotReader) -> list[PushedModule]:
    """Every module of the push in full, by path; 409 when an unchanged one is not what we have."""
    modules = [*request.changed]
    modules += [_stored_module(module, catalog, snapshot) for module in request.unchanged]
    return sorted(modules, key=lambda module: module.path)


def _stored_module(module: UnchangedModule, catalog: Catalog, snapshot: SnapshotReader) -> PushedModule:
    active = catalog.modules.get(module.path)
    if active is None:
        raise errors.missing_existing_module(module.path)
    if active.environment != module.environment:
        raise errors.existing_module_environment_conflict(module.path)
    if active.sha256 != module.sha256:
        raise errors.existing_module_hash_conflict(module.path)
    text: ModuleText | None = read_module(snapshot, module.sha256)
    if text is None:
        raise errors.missing_existing_module_source(module.path)
    return PushedModule(module.path, text.source, text.source_map, module.environment)


def store_sources(transaction: Transaction, modules: Iterable[PushedModule]) -> None:
    """Make every text of `modules` readable by its hash."""
    for module in modules:
        if _source_row(transaction, module.sha256) is None:
            fields = {"sha256": module.sha256, "source": module.source, "sourceMap": module.source_map}
            transaction.insert("_module_sources", fields)


def delete_sources(transaction: Transaction, hashes: Iterable[str]) -> None:
    """Delete the texts of these hashes; the caller knows that nobody names them."""
    table = transaction.catalog.tables["_module_sources"]
    for sha256 in sorted(set(hashes)):
        row = _source_row(transaction, sha256)
        if row is not None:
            transaction.delete(table, row["_id"])


def replace_modules(transaction: Transaction, modules: Iterable[StagedModule]) -> dict[str, list[str]]:
    """Make `modules` the active set of the component the transaction is in; the paths that came and went
    (spec 02 8, moduleDiff)."""
    table, namespace = transaction.catalog.tables["_modules"], transaction.component.namespace
    stored = transaction.all_documents(table)
    rows = {row["path"]: row["_id"] for row in stored if row.get("component") == namespace}
    owner = {"component": namespace} if namespace is not None else {}
    wanted = {module.path: {**module.to_fields(), **owner} for module in modules}
    for path, fields in sorted(wanted.items()):
        if path in rows:
            transaction.replace(table, rows[path], fields)
        else:
            transaction.insert("_modules", fields)
    removed = sorted(rows.keys() - wanted.keys())
    for path in removed:
        transaction.delete(table, rows[path])
    return {"added": sorted(wanted.keys() - rows.keys()), "removed": removed}


def _source_row(transaction: Transaction, sha256: str) -> dict[str, Any] | None:
    return transaction.first(transaction.catalog.tables["_module_sources"], "by_sha256", encode_item(sha256))
