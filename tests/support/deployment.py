"""A deployment as the CLI sees it, over a database in memory and the real engine.

`Deployment.operate` runs an HTTP operation, `query` a `_system/` function. The bodies of pushes are made of
small modules written by hand; a real bundle goes in as `modules`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson

from functions.pages import CursorCodec
from functions.system.operation import SystemContext
from functions.system.registry import OPERATIONS, SYSTEM_FUNCTIONS
from log import values

from .javascript import engine
from .memory_database import MemoryDatabase

Json = Any
ISOLATE = "isolate"

FUNCTIONS = """
const register = (kind, visibility, args, returns) => Object.assign(() => {}, {
  [`is${kind}`]: true, [`is${visibility}`]: true,
  exportArgs: () => args ?? '{"type":"any"}', exportReturns: () => returns ?? "null",
  [`invoke${kind}`]: async () => "null",
});
const query = (args, returns) => register("Query", "Public", args, returns);
const mutation = (args, returns) => register("Mutation", "Public", args, returns);
const internalAction = () => register("Action", "Internal");
"""


def module(path: str, source: str, source_map: str | None = None) -> Json:
    tree = {"path": path, "source": source, "environment": ISOLATE}
    return tree if source_map is None else {**tree, "sourceMap": source_map}


def functions_module(path: str, source: str) -> Json:
    return module(path, FUNCTIONS + source)


def schema_module(*tables: Json, validation: bool = True) -> Json:
    """A schema.js that exports the given tables."""
    text = json.dumps({"tables": list(tables), "schemaValidation": validation})
    return module("schema.js", f"export default {{ export: () => {json.dumps(text)} }};")


def table(
    name: str, document: Json = None, staged: dict[str, list[str]] | None = None, **indexes: Any
) -> Json:
    """A table of a schema; `indexes` maps names to declared fields."""

    def listed(found: dict[str, list[str]]) -> Json:
        return [{"indexDescriptor": key, "fields": fields} for key, fields in found.items()]

    tree = {"tableName": name, "indexes": listed(indexes), "stagedDbIndexes": listed(staged or {})}
    return {**tree, "documentType": document}


def string_fields(*names: str) -> Json:
    """The validator of an object with these required string fields."""
    fields = {name: {"fieldType": {"type": "string"}, "optional": False} for name in names}
    return {"type": "object", "value": fields}


def hash_of(tree: Json) -> str:
    return hashlib.sha256((tree["source"] + tree.get("sourceMap", "")).encode()).hexdigest()


def push_body(
    *modules: Json,
    schema: Json = None,
    app: Json = None,
    unchanged: tuple[Json, ...] = (),
    version: str = "1.48.0",
    **top: Json,
) -> Json:
    """The body of a start_push request."""
    hashes = [{"path": each["path"], "environment": ISOLATE, "sha256": hash_of(each)} for each in unchanged]
    definition = {
        "definition": app,
        "dependencies": [],
        "schema": schema,
        "changedModules": list(modules),
        "unchangedModuleHashes": hashes,
        "udfServerVersion": version,
    }
    rest = {"dryRun": False, "functions": "convex/", "componentDefinitions": [], "nodeDependencies": []}
    return {**rest, "appDefinition": definition, **top}


class Deployment:
    """One deployment. `database` may be read and written beside the operations."""

    def __init__(self, seed: int = 0) -> None:
        self.database = MemoryDatabase(seed)
        self._codec = CursorCodec(bytes(32))

    @property
    def context(self) -> SystemContext:
        return SystemContext(
            engine=engine(),
            instance_name="test",
            cloud_origin="http://cloud.test",
            site_origin="http://site.test",
            now_ns=self.database.now_ns,
            random_bytes=self.database.random_bytes,
            codec=self._codec,
        )

    def prepare(self, name: str, body: Json) -> Any:
        operation = OPERATIONS[name]
        if operation.prepare is None:
            return None
        return operation.prepare(self.database.begin(is_read_only=True), body, self.context)()

    def apply(self, name: str, body: Json, prepared: Any) -> Json:
        def run(transaction: Any) -> Json:
            return OPERATIONS[name].run(transaction, body, prepared, self.context)

        return orjson.loads(orjson.dumps(self.database.transact(run)))

    def operate(self, name: str, body: Json | None = None) -> Json:
        """Prepare and apply, as the executor does; the answer as JSON."""
        body = body or {}
        return self.apply(name, body, self.prepare(name, body))

    def query(self, path: str, **args: Any) -> Any:
        """What a client would get: the value through its encoding."""
        transaction = self.database.begin(is_read_only=True)
        value = SYSTEM_FUNCTIONS[path].run(transaction, args, self.context)
        return values.loads(values.dumps(value))

    def mutate(self, path: str, **args: Any) -> Any:
        """The same of a `_system/` mutation, committed."""

        def run(transaction: Any) -> bytes:
            return values.dumps(SYSTEM_FUNCTIONS[path].run(transaction, args, self.context))

        return values.loads(self.database.transact(run))

    # --- pushes -------------------------------------------------------------------------------------

    def start(self, *modules: Json, **rest: Any) -> Json:
        return self.operate("start_push", push_body(*modules, **rest))

    def wait(self, started: Json) -> Json:
        return self.operate("wait_for_schema", {"schemaChange": started["schemaChange"]})

    def finish(self, started: Json, **rest: Any) -> Json:
        body = {"startPush": started, "dryRun": False, "message": None, **rest}
        return self.operate("finish_push", body)

    def push(self, *modules: Json, **rest: Any) -> Json:
        """Start, let the maintenance work, finish."""
        started = self.start(*modules, **rest)
        self.database.maintain()
        assert self.wait(started) == {"type": "complete"}
        return self.finish(started)

    def indexes(self) -> dict[str, str]:
        """ "table.index" -> state, the staged ones marked; user indexes only."""
        found = {}
        for each in self.database.catalog.user_tables():
            for index in each.indexes[2:]:
                found[f"{each.name}.{index.name}"] = index.state + (" staged" if index.is_staged else "")
        return found
