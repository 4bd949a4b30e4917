"""A push between `start_push` and `finish_push`, kept on the server (spec 02 7, 27).

The CLI sends the whole answer of start_push back; only the id in it is read, because everything else is in
the client's hands. At most one push is staged: a new one takes the place of the old.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from functions.schema import Schema, parse_schema
from functions.system.app_definition import Definition
from functions.system.auth_config import AuthInfo
from functions.system.modules import StagedModule, delete_sources
from functions.transaction import Transaction
from log import values

PUSH_ID = "pushId"


@dataclass(frozen=True, slots=True)
class StagedPush:
    """What finish_push will apply. `schema_id` is the `_schemas` row that must become valid."""

    is_dry_run: bool
    is_for_codegen: bool
    environment: dict[str, str]
    server_version: str
    import_seed: bytes
    import_ts: int
    definition: Definition
    auth: list[AuthInfo]
    modules: tuple[StagedModule, ...]
    schema_id: str | None
    schema_text: str | None
    index_diff: dict[str, Any]

    @property
    def schema(self) -> Schema | None:
        return parse_schema(self.schema_text) if self.schema_text is not None else None

    @property
    def builds_indexes(self) -> bool:
        """Dry runs and code generation compute the index changes and throw them away (spec 02 10)."""
        return not (self.is_dry_run or self.is_for_codegen)

    @property
    def hashes(self) -> frozenset[str]:
        return frozenset(module.sha256 for module in self.modules)

    def to_text(self) -> str:
        tree = {
            "isDryRun": self.is_dry_run,
            "isForCodegen": self.is_for_codegen,
            "environment": self.environment,
            "serverVersion": self.server_version,
            "importSeed": self.import_seed.hex(),
            "importTs": self.import_ts,
            "definition": self.definition,
            "auth": self.auth,
            "modules": [module.to_fields() for module in self.modules],
            "schemaId": self.schema_id,
            "schema": self.schema_text,
            "indexDiff": self.index_diff,
        }
        return orjson.dumps(tree).decode()

    @classmethod
    def from_text(cls, text: str) -> StagedPush:
        tree = orjson.loads(text)
        return cls(
            is_dry_run=tree["isDryRun"],
            is_for_codegen=tree["isForCodegen"],
            environment=tree["environment"],
            server_version=tree["serverVersion"],
            import_seed=bytes.fromhex(tree["importSeed"]),
            import_ts=tree["importTs"],
            definition=tree["definition"],
            auth=tree["auth"],
            modules=tuple(StagedModule.from_fields(fields) for fields in tree["modules"]),
            schema_id=tree["schemaId"],
            schema_text=tree["schema"],
            index_diff=tree["indexDiff"],
        )


def save_push(transaction: Transaction, staged: StagedPush) -> str:
    """Store it; its id."""
    return transaction.insert("_pushes", {"content": staged.to_text()})


def find_push(transaction: Transaction, echoed: Any) -> tuple[str, StagedPush] | None:
    """The staged push an echoed object names, with its id; None when it is gone or never was."""
    push_id = echoed.get(PUSH_ID) if isinstance(echoed, dict) else None
    if not isinstance(push_id, str):
        return None
    row = transaction.get(transaction.catalog.tables["_pushes"], push_id)
    if row is None:
        return None
    document = values.loads_canonical(row.document)
    assert isinstance(document, dict)
    return push_id, StagedPush.from_text(document["content"])  # type: ignore[arg-type]


def drop_pushes(transaction: Transaction, kept_hashes: Iterable[str]) -> None:
    """Forget every staged push, and the module texts that only they named."""
    table = transaction.catalog.tables["_pushes"]
    active = {module.sha256 for module in transaction.catalog.modules.values()}
    orphaned: set[str] = set()
    for row in transaction.all_documents(table):
        orphaned |= StagedPush.from_text(row["content"]).hashes
        transaction.delete(table, row["_id"])
    delete_sources(transaction, orphaned - active - set(kept_hashes))
