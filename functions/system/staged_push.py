"""A push between `start_push` and `finish_push`, kept on the server (spec 02 7, 27).

The CLI sends the whole answer of start_push back; only the id in it is read, because everything else is in
the client's hands. At most one push is staged: a new one takes the place of the old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from functions.node_packages import NodePackage, packages_of, packages_tree
from functions.schema import Schema, parse_schema
from functions.system.auth_config import AuthInfo
from functions.system.component_definitions import Definition
from functions.system.modules import StagedModule, delete_sources
from functions.transaction import Transaction
from log import values

PUSH_ID = "pushId"


@dataclass(frozen=True, slots=True)
class StagedDefinition:
    """The code of the app, or of a component: what all its instances have."""

    definition: Definition
    modules: tuple[StagedModule, ...]
    schema_text: str | None

    @property
    def schema(self) -> Schema | None:
        return parse_schema(self.schema_text) if self.schema_text is not None else None

    def to_tree(self) -> dict[str, Any]:
        modules = [module.to_fields() for module in self.modules]
        return {"definition": self.definition, "modules": modules, "schema": self.schema_text}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> StagedDefinition:
        modules = tuple(StagedModule.from_fields(fields) for fields in tree["modules"])
        return cls(tree["definition"], modules, tree["schema"])


@dataclass(frozen=True, slots=True)
class StagedInstance:
    """One component, or the app. `schema_id` is the `_schemas` row that must become valid; `bindings` are
    kept as its row keeps them (functions/components.py)."""

    path: str
    definition_path: str
    bindings: list[dict[str, str | None]]
    http_prefix: str | None
    schema_id: str | None
    index_diff: dict[str, Any]

    def to_tree(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "definitionPath": self.definition_path,
            "bindings": self.bindings,
            "httpPrefix": self.http_prefix,
            "schemaId": self.schema_id,
            "indexDiff": self.index_diff,
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> StagedInstance:
        return cls(
            path=tree["path"],
            definition_path=tree["definitionPath"],
            bindings=tree["bindings"],
            http_prefix=tree["httpPrefix"],
            schema_id=tree["schemaId"],
            index_diff=tree["indexDiff"],
        )


@dataclass(frozen=True, slots=True)
class StagedPush:
    """What finish_push will apply. `instances` begins with the app and has parents first; `definitions` is by
    definition path, "" is the app's."""

    is_dry_run: bool
    is_for_codegen: bool
    environment: dict[str, str]
    canonical_urls: dict[str, str]
    server_version: str
    import_seed: bytes
    import_ts: int
    auth: list[AuthInfo]
    node_packages: tuple[NodePackage, ...]
    definitions: dict[str, StagedDefinition]
    instances: tuple[StagedInstance, ...]

    @property
    def app(self) -> StagedDefinition:
        return self.definitions[""]

    @property
    def builds_indexes(self) -> bool:
        """Dry runs and code generation compute the index changes and throw them away (spec 02 10)."""
        return not (self.is_dry_run or self.is_for_codegen)

    @property
    def hashes(self) -> frozenset[str]:
        return frozenset(module.sha256 for each in self.definitions.values() for module in each.modules)

    def to_text(self) -> str:
        tree = {
            "isDryRun": self.is_dry_run,
            "isForCodegen": self.is_for_codegen,
            "environment": self.environment,
            "canonicalUrls": self.canonical_urls,
            "serverVersion": self.server_version,
            "importSeed": self.import_seed.hex(),
            "importTs": self.import_ts,
            "auth": self.auth,
            "nodePackages": packages_tree(self.node_packages),
            "definitions": {path: each.to_tree() for path, each in self.definitions.items()},
            "instances": [each.to_tree() for each in self.instances],
        }
        return orjson.dumps(tree).decode()

    @classmethod
    def from_text(cls, text: str) -> StagedPush:
        tree = orjson.loads(text)
        return cls(
            is_dry_run=tree["isDryRun"],
            is_for_codegen=tree["isForCodegen"],
            environment=tree["environment"],
            canonical_urls=tree.get("canonicalUrls", {}),
            server_version=tree["serverVersion"],
            import_seed=bytes.fromhex(tree["importSeed"]),
            import_ts=tree["importTs"],
            auth=tree["auth"],
            node_packages=packages_of(tree.get("nodePackages", [])),
            definitions={
                path: StagedDefinition.from_tree(each) for path, each in tree["definitions"].items()
            },
            instances=tuple(StagedInstance.from_tree(each) for each in tree["instances"]),
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
    active = {module.sha256 for module in transaction.catalog.every_module()}
    orphaned: set[str] = set()
    for row in transaction.all_documents(table):
        orphaned |= _hashes_of(row["content"])
        transaction.delete(table, row["_id"])
    delete_sources(transaction, orphaned - active - set(kept_hashes))


def _hashes_of(text: str) -> frozenset[str]:
    """Of a stored push; one that an older version left behind names its modules at the top."""
    tree = orjson.loads(text)
    if "definitions" in tree:
        return StagedPush.from_text(text).hashes
    return frozenset(module["sha256"] for module in tree["modules"])
