"""The first half of a push: from bundle to a staged push (spec 02 4-11, design D13).

`start_push` evaluates everything, creates what takes time (tables, indexes, pending schemas) and stages the
rest; `finish_push` (push_activation.py) activates it in one commit. Between them the deployment runs what it
ran before. What is said of the app holds of every component it mounts: each has code, tables and a schema of
its own.

Promises:
  - what finish activates is what start staged on the server, never what the client echoed;
  - a push is staged only if nothing it was analysed with has changed;
  - of several pushes under way the last one started is the one that can be finished.

Read in this order: pushed_packages, prepare_push, start_push, wait_for_schema.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from functions.catalog import Catalog
from functions.components import APP_PATH, Component
from functions.images import is_entry
from functions.node_packages import NodePackage, packages_key
from functions.schema import Schema
from functions.system import errors
from functions.system.analysis import Analysis, Evaluator, analyse
from functions.system.auth_config import AuthInfo, evaluate_auth
from functions.system.component_definitions import Definition, evaluate_definitions, with_exports
from functions.system.component_rows import install
from functions.system.component_tree import (
    Instance,
    checked_component,
    every_instance,
    instance_tree,
)
from functions.system.lifecycle import SchemaState
from functions.system.modules import StagedModule, assemble, module_hashes, store_sources
from functions.system.operation import Evaluation, SystemContext
from functions.system.push_request import AUTH_PATH, PushedModule, PushRequest, parse_push
from functions.system.schema_changes import (
    begin_indexes,
    create_tables,
    declared_indexes,
    delete_settled_schemas,
    plan_indexes,
    schema_state,
    submit_schema,
    unfinished_indexes,
)
from functions.system.schema_evaluation import evaluate_schema_file
from functions.system.staged_push import (
    PUSH_ID,
    StagedDefinition,
    StagedInstance,
    StagedPush,
    drop_pushes,
    find_push,
    save_push,
)
from functions.transaction import Transaction
from log import values

_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class AnalysedWith:
    """What an analysis depended on; a push is staged only while it is still so."""

    environment: dict[str, str]
    canonical_urls: dict[str, str]
    hashes: dict[str, str]
    udf_config: dict[str, Any] | None

    @classmethod
    def of(cls, catalog: Catalog) -> AnalysedWith:
        hashes = {module.path: module.sha256 for module in catalog.modules.values()}
        return cls(dict(catalog.environment), dict(catalog.canonical_urls), hashes, catalog.udf_config)


@dataclass(frozen=True, slots=True)
class PreparedDefinition:
    """Everything evaluation found out about the app, or about a component."""

    definition: Definition
    modules: list[PushedModule]
    analyses: dict[str, Analysis]
    schema: Schema | None

    @property
    def schema_text(self) -> str | None:
        return self.schema.to_json() if self.schema is not None else None


@dataclass(frozen=True, slots=True)
class PreparedPush:
    """Everything evaluation found out about a push. `definitions` is by definition path, "" is the app's."""

    request: PushRequest
    relied_on: AnalysedWith
    udf_config: dict[str, Any]
    definitions: dict[str, PreparedDefinition]
    app: Instance
    auth: list[AuthInfo]

    @property
    def modules(self) -> list[PushedModule]:
        return [module for each in self.definitions.values() for module in each.modules]


# --- start ------------------------------------------------------------------------------------------


@errors.pushing
def pushed_packages(body: dict[str, Any]) -> tuple[NodePackage, ...]:
    """What must be installed before the push can be evaluated."""
    return parse_push(body).node_packages if body.get("nodeDependencies") else ()


@errors.pushing
def prepare_push(transaction: Transaction, body: dict[str, Any], context: SystemContext) -> Evaluation:
    """Read the request, and what it builds on; evaluating it makes a PreparedPush."""
    request = parse_push(body)
    catalog = transaction.catalog
    app_modules = assemble(request, catalog, transaction.snapshot)
    return partial(_evaluate, request, app_modules, catalog, context)


@errors.pushing
def _evaluate(
    request: PushRequest, app_modules: list[PushedModule], catalog: Catalog, context: SystemContext
) -> PreparedPush:
    """Evaluate every module; refuses what cannot run (spec 02 9)."""
    udf_config = next_udf_config(catalog, request.server_version, context)
    environment = context.variables_of(catalog)
    evaluator = Evaluator(context.engine, environment, udf_config, context.node, request.node_packages)
    exported = evaluate_definitions(evaluator, request)
    definitions = {APP_PATH: _prepared(evaluator, exported[APP_PATH], app_modules, request.schema)}
    built_in = catalog.built_in_variables(context.system_environment)
    child_evaluator = Evaluator(context.engine, built_in, udf_config)
    for component in request.components:
        path, modules = component.definition_path, list(component.modules)
        prepared = _prepared(child_evaluator, exported[path], modules, component.schema)
        definitions[path] = prepared
    auth_module = next((module for module in app_modules if module.path == AUTH_PATH), None)
    return PreparedPush(
        request=request,
        relied_on=AnalysedWith.of(catalog),
        udf_config=udf_config,
        definitions=definitions,
        app=instance_tree(
            {path: each.definition for path, each in definitions.items()},
            {path: each.analyses for path, each in definitions.items()},
            requires_variables=not request.is_for_codegen,
        ),
        auth=evaluate_auth(evaluator, auth_module),
    )


def _prepared(
    evaluator: Evaluator, definition: Definition, modules: list[PushedModule], schema: PushedModule | None
) -> PreparedDefinition:
    analyses = analyse(evaluator, modules)
    definition = with_exports(definition, analyses)
    return PreparedDefinition(definition, modules, analyses, evaluate_schema_file(evaluator, schema))


def next_udf_config(catalog: Catalog, server_version: str, context: SystemContext) -> dict[str, Any]:
    """The import phase's seed and time: renewed only with the package version, because every cached
    query depends on them (spec 02 9)."""
    stored = catalog.udf_config
    if stored is not None and stored["serverVersion"] == server_version:
        names = ("serverVersion", "importPhaseRngSeed", "importPhaseUnixTimestamp")
        return {name: stored[name] for name in names}
    return {
        "serverVersion": server_version,
        "importPhaseRngSeed": context.random_bytes(_SEED_BYTES),
        "importPhaseUnixTimestamp": context.now_ns,
    }


@errors.pushing
def start_push(
    transaction: Transaction, _body: dict[str, Any], prepared: PreparedPush, _context: SystemContext
) -> dict[str, Any]:
    """Stage the push and begin what takes time; the answer of spec 02 7, with the id to finish it by."""
    if AnalysedWith.of(transaction.catalog) != prepared.relied_on:
        raise errors.deployment_changed()
    transaction.budget.lift_for_system()
    drop_pushes(transaction, kept_hashes=(module.sha256 for module in prepared.modules))
    delete_settled_schemas(transaction)
    builds_indexes = not (prepared.request.is_dry_run or prepared.request.is_for_codegen)
    instances = [
        _start_instance(transaction, prepared, instance, builds_indexes=builds_indexes)
        for instance in every_instance(prepared.app)
    ]
    staged = _staged(prepared, instances)
    if builds_indexes:
        store_sources(transaction, prepared.modules)
    return _start_answer(prepared, staged, save_push(transaction, staged))


def _start_instance(
    transaction: Transaction, prepared: PreparedPush, instance: Instance, *, builds_indexes: bool
) -> StagedInstance:
    """Create the tables of one component, or of the app, begin its indexes and submit its schema. One that is
    new is installed, unless nothing is to be built."""
    schema = prepared.definitions[instance.definition_path].schema
    schema_id = None
    if instance.path != APP_PATH and builds_indexes:
        install(transaction, instance.path)
    catalog = transaction.catalog_of(instance.path)
    if catalog is None:
        plan = plan_indexes(schema, transaction.catalog.of_new_component(Component(instance.path)))
    else:
        transaction.enter_component(instance.path)
        plan = plan_indexes(schema, catalog)
        new_tables = create_tables(transaction, schema)
        schema_id = submit_schema(transaction, schema)
        if builds_indexes:
            begin_indexes(transaction, plan, new_tables)
        transaction.enter_component(APP_PATH)
    return StagedInstance(
        path=instance.path,
        definition_path=instance.definition_path,
        bindings=[binding.to_fields() for binding in instance.environment],
        http_prefix=instance.http_prefix,
        schema_id=schema_id,
        index_diff=plan.to_json(),
    )


def _staged(prepared: PreparedPush, instances: list[StagedInstance]) -> StagedPush:
    return StagedPush(
        is_dry_run=prepared.request.is_dry_run,
        is_for_codegen=prepared.request.is_for_codegen,
        environment=prepared.relied_on.environment,
        canonical_urls=prepared.relied_on.canonical_urls,
        server_version=prepared.udf_config["serverVersion"],
        import_seed=prepared.udf_config["importPhaseRngSeed"],
        import_ts=prepared.udf_config["importPhaseUnixTimestamp"],
        auth=prepared.auth,
        node_packages=prepared.request.node_packages,
        definitions={path: _staged_definition(each) for path, each in prepared.definitions.items()},
        instances=tuple(instances),
    )


def _staged_definition(prepared: PreparedDefinition) -> StagedDefinition:
    modules = (
        StagedModule(
            path=module.path,
            sha256=module.sha256,
            environment=module.environment,
            analysis=orjson.dumps(prepared.analyses[module.path]).decode(),
        )
        for module in prepared.modules
    )
    return StagedDefinition(prepared.definition, tuple(modules), prepared.schema_text)


def _start_answer(prepared: PreparedPush, staged: StagedPush, push_id: str) -> dict[str, Any]:
    definitions = {path: each.definition for path, each in prepared.definitions.items()}
    analyses = {path: each.analyses for path, each in prepared.definitions.items()}
    return {
        "environmentVariables": staged.environment,
        "externalDepsId": packages_key(staged.node_packages) if staged.node_packages else None,
        "componentDefinitionPackages": {},
        "appAuth": staged.auth,
        "analysis": {
            path: _evaluated_definition(each, prepared.udf_config)
            for path, each in prepared.definitions.items()
        },
        "app": checked_component(prepared.app, definitions, analyses),
        "schemaChange": {
            "allocatedComponentIds": {},
            "schemaIds": {instance.path: instance.schema_id for instance in staged.instances},
            "indexDiffs": {instance.path: instance.index_diff for instance in staged.instances},
            PUSH_ID: push_id,
        },
        PUSH_ID: push_id,
    }


def _evaluated_definition(prepared: PreparedDefinition, udf_config: dict[str, Any]) -> dict[str, Any]:
    analyses, schema_text = prepared.analyses, prepared.schema_text
    return {
        "definition": prepared.definition,
        "schema": orjson.loads(schema_text) if schema_text is not None else None,
        "functions": {path: analyses[path] for path in sorted(analyses) if is_entry(path)},
        "udfConfig": values.encode(udf_config),
    }


@errors.pushing
def evaluate_push(
    transaction: Transaction, _body: dict[str, Any], prepared: PreparedPush, _context: SystemContext
) -> dict[str, Any]:
    """What start_push would change about indexes, without changing anything (spec 02 8)."""
    diffs = {}
    for instance in every_instance(prepared.app):
        schema = prepared.definitions[instance.definition_path].schema
        diffs[instance.path] = plan_indexes(schema, catalog_as_found(transaction, instance.path)).to_json()
    return {"schemaChange": {"allocatedComponentIds": {}, "schemaIds": {}, "indexDiffs": diffs}}


def catalog_as_found(transaction: Transaction, path: str) -> Catalog:
    """Of a component; an empty one where none is installed yet."""
    found = transaction.catalog_of(path)
    return found if found is not None else transaction.catalog.of_new_component(Component(path))


# --- between ----------------------------------------------------------------------------------------


def get_config_hashes(
    transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    catalog = transaction.catalog
    return {
        "config": {"functions": "convex/"},
        "moduleHashes": module_hashes(catalog),
        "udfServerVersion": (catalog.udf_config or {}).get("serverVersion"),
    }


def wait_for_schema(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """How far the schemas of a push are, now; the caller asks again while it is in progress (spec 02 8)."""
    found = find_push(transaction, body.get("schemaChange"))
    if found is None:
        return {"type": "raceDetected"}
    _, staged = found
    progress = {}
    for instance in staged.instances:
        state = schema_state(transaction, instance.schema_id) if instance.schema_id is not None else None
        if state is not None and state["state"] == SchemaState.OVERWRITTEN:
            return {"type": "raceDetected"}
        if state is not None and state["state"] == SchemaState.FAILED:
            where = {"componentPath": instance.path, "tableName": state.get("tableName")}
            return {"type": "failed", "error": state["error"], **where}
        waiting, total = _index_progress(transaction, staged, instance)
        progress[instance.path] = {
            "schemaValidationComplete": state is None or state["state"] != SchemaState.PENDING,
            "indexesComplete": total - waiting,
            "indexesTotal": total,
        }
    if all(
        each["schemaValidationComplete"] and each["indexesComplete"] == each["indexesTotal"]
        for each in progress.values()
    ):
        return {"type": "complete"}
    return {"type": "inProgress", "components": progress}


def _index_progress(
    transaction: Transaction, staged: StagedPush, instance: StagedInstance
) -> tuple[int, int]:
    """(indexes still to be filled, indexes that are waited for)."""
    catalog = transaction.catalog_of(instance.path)
    if not staged.builds_indexes or catalog is None:
        return 0, 0
    schema = staged.definitions[instance.definition_path].schema
    waited_for = [spec for spec in declared_indexes(schema) if not spec.is_staged]
    return len(unfinished_indexes(plan_indexes(schema, catalog))), len(waited_for)


def report_push_completed(
    _transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> None:
    """Tracing data of the CLI: accepted and dropped."""
