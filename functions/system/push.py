"""A push of the app, from bundle to running code, in two transactions (spec 02 4-12, design D13).

`start_push` evaluates everything, creates what takes time (tables, indexes, a pending schema) and stages the
rest; `finish_push` activates it in one commit. Between them the deployment runs what it ran before.

Promises:
  - what finish activates is what start staged on the server, never what the client echoed;
  - a push is activated whole or not at all, and only if nothing it was analysed with has changed;
  - of several pushes under way the last one started is the one that can be finished.

Read in this order: prepare_push, start_push, wait_for_schema, finish_push.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import orjson

from functions.catalog import Catalog
from functions.cron_jobs import Spec, replace_crons
from functions.function_handles import replace_handles
from functions.images import is_entry
from functions.schema import Schema
from functions.system import errors
from functions.system.analysis import CRONS_PATH, HTTP_PATH, Analysis, Evaluator, analyse
from functions.system.app_definition import (
    Definition,
    check_environment,
    env_declarations,
    evaluate_definition,
)
from functions.system.auth_config import AuthInfo, evaluate_auth, replace_auth
from functions.system.lifecycle import SchemaState
from functions.system.modules import (
    StagedModule,
    assemble,
    delete_sources,
    module_hashes,
    replace_modules,
    store_sources,
)
from functions.system.operation import SystemContext
from functions.system.push_request import AUTH_PATH, PushedModule, PushRequest, parse_push
from functions.system.schema_changes import (
    IndexPlan,
    activate_schema,
    begin_indexes,
    create_tables,
    declared_indexes,
    delete_settled_schemas,
    finish_indexes,
    plan_indexes,
    schema_state,
    submit_schema,
    unfinished_indexes,
)
from functions.system.schema_evaluation import evaluate_schema_file
from functions.system.staged_push import PUSH_ID, StagedPush, drop_pushes, find_push, save_push
from functions.transaction import Transaction
from log import limits, values
from log.errors import BackendError

_Parameters = ParamSpec("_Parameters")
_Answer = TypeVar("_Answer")
_SEED_BYTES = 32


def _pushing(run: Callable[_Parameters, _Answer]) -> Callable[_Parameters, _Answer]:
    """Refusals of `run` begin with the line every failed push prints (spec 02 12)."""

    @wraps(run)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Answer:
        try:
            return run(*args, **kwargs)
        except BackendError as failure:
            raise errors.while_pushing(failure) from failure

    return wrapped


@dataclass(frozen=True, slots=True)
class AnalysedWith:
    """What an analysis depended on; a push is staged only while it is still so."""

    environment: dict[str, str]
    hashes: dict[str, str]
    udf_config: dict[str, Any] | None

    @classmethod
    def of(cls, catalog: Catalog) -> AnalysedWith:
        hashes = {module.path: module.sha256 for module in catalog.modules.values()}
        return cls(dict(catalog.environment), hashes, catalog.udf_config)


@dataclass(frozen=True, slots=True)
class PreparedPush:
    """Everything evaluation found out about a push."""

    request: PushRequest
    relied_on: AnalysedWith
    udf_config: dict[str, Any]
    modules: list[PushedModule]
    analyses: dict[str, Analysis]
    definition: Definition
    schema: Schema | None
    auth: list[AuthInfo]


# --- start ------------------------------------------------------------------------------------------


@_pushing
def prepare_push(transaction: Transaction, body: dict[str, Any], context: SystemContext) -> PreparedPush:
    """Read the request and evaluate every module of it; refuses what cannot run (spec 02 9)."""
    request = parse_push(body)
    catalog = transaction.catalog
    udf_config = next_udf_config(catalog, request.server_version, context)
    environment = {**context.system_environment, **catalog.environment}
    evaluator = Evaluator(context.engine, environment, udf_config, context.node)
    modules = assemble(request, catalog, transaction.snapshot)
    auth_module = next((module for module in modules if module.path == AUTH_PATH), None)
    return PreparedPush(
        request=request,
        relied_on=AnalysedWith.of(catalog),
        udf_config=udf_config,
        modules=modules,
        definition=evaluate_definition(evaluator, request.app_config),
        schema=evaluate_schema_file(evaluator, request.schema),
        auth=evaluate_auth(evaluator, auth_module),
        analyses=analyse(evaluator, modules),
    )


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


@_pushing
def start_push(
    transaction: Transaction, _body: dict[str, Any], prepared: PreparedPush, _context: SystemContext
) -> dict[str, Any]:
    """Stage the push and begin what takes time; the answer of spec 02 7, with the id to finish it by."""
    catalog = transaction.catalog
    if AnalysedWith.of(catalog) != prepared.relied_on:
        raise errors.deployment_changed()
    transaction.budget.lift_for_system()
    plan = plan_indexes(prepared.schema, catalog)
    drop_pushes(transaction, kept_hashes=(module.sha256 for module in prepared.modules))
    delete_settled_schemas(transaction)
    new_tables = create_tables(transaction, prepared.schema)
    staged = _staged(prepared, plan, submit_schema(transaction, prepared.schema))
    if staged.builds_indexes:
        begin_indexes(transaction, plan, new_tables)
        store_sources(transaction, prepared.modules)
    return _start_answer(prepared, staged, save_push(transaction, staged))


def _staged(prepared: PreparedPush, plan: IndexPlan, schema_id: str | None) -> StagedPush:
    modules = (
        StagedModule(
            path=module.path,
            sha256=module.sha256,
            environment=module.environment,
            analysis=orjson.dumps(prepared.analyses[module.path]).decode(),
        )
        for module in prepared.modules
    )
    return StagedPush(
        is_dry_run=prepared.request.is_dry_run,
        is_for_codegen=prepared.request.is_for_codegen,
        environment=prepared.relied_on.environment,
        server_version=prepared.udf_config["serverVersion"],
        import_seed=prepared.udf_config["importPhaseRngSeed"],
        import_ts=prepared.udf_config["importPhaseUnixTimestamp"],
        definition=prepared.definition,
        auth=prepared.auth,
        modules=tuple(modules),
        schema_id=schema_id,
        schema_text=prepared.schema.to_json() if prepared.schema is not None else None,
        index_diff=plan.to_json(),
    )


def _start_answer(prepared: PreparedPush, staged: StagedPush, push_id: str) -> dict[str, Any]:
    functions = {path: prepared.analyses[path] for path in sorted(prepared.analyses) if is_entry(path)}
    return {
        "environmentVariables": staged.environment,
        "externalDepsId": None,
        "componentDefinitionPackages": {},
        "appAuth": staged.auth,
        "analysis": {
            "": {
                "definition": staged.definition,
                "schema": orjson.loads(staged.schema_text) if staged.schema_text is not None else None,
                "functions": functions,
                "udfConfig": values.encode(prepared.udf_config),
            }
        },
        "app": _checked_component(prepared.analyses),
        "schemaChange": {
            "allocatedComponentIds": {},
            "schemaIds": {"": staged.schema_id},
            "indexDiffs": {"": staged.index_diff},
            PUSH_ID: push_id,
        },
        PUSH_ID: push_id,
    }


def _checked_component(analyses: dict[str, Analysis]) -> dict[str, Any]:
    """The instance tree of spec 02 7: the app alone."""
    routes = analyses[HTTP_PATH]["httpRoutes"] if HTTP_PATH in analyses else None
    return {
        "definitionPath": "",
        "componentPath": "",
        "args": {},
        "childComponents": {},
        "httpRoutes": {
            "httpModuleRoutes": [each["route"] for each in routes] if routes is not None else None,
            "mounts": [],
        },
        "exports": {},
    }


@_pushing
def evaluate_push(
    transaction: Transaction, _body: dict[str, Any], prepared: PreparedPush, _context: SystemContext
) -> dict[str, Any]:
    """What start_push would change about indexes, without changing anything (spec 02 8)."""
    diff = plan_indexes(prepared.schema, transaction.catalog).to_json()
    return {"schemaChange": {"allocatedComponentIds": {}, "schemaIds": {}, "indexDiffs": {"": diff}}}


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
    """How far the schema of a push is, now; the caller asks again while it is in progress (spec 02 8)."""
    found = find_push(transaction, body.get("schemaChange"))
    if found is None:
        return {"type": "raceDetected"}
    _, staged = found
    state = schema_state(transaction, staged.schema_id) if staged.schema_id is not None else None
    if state is not None and state["state"] == SchemaState.OVERWRITTEN:
        return {"type": "raceDetected"}
    if state is not None and state["state"] == SchemaState.FAILED:
        table = state.get("tableName")
        return {"type": "failed", "error": state["error"], "componentPath": "", "tableName": table}
    is_valid = state is None or state["state"] != SchemaState.PENDING
    waiting, total = _index_progress(transaction.catalog, staged)
    if is_valid and waiting == 0:
        return {"type": "complete"}
    progress = {
        "schemaValidationComplete": is_valid,
        "indexesComplete": total - waiting,
        "indexesTotal": total,
    }
    return {"type": "inProgress", "components": {"": progress}}


def _index_progress(catalog: Catalog, staged: StagedPush) -> tuple[int, int]:
    """(indexes still to be filled, indexes that are waited for)."""
    if not staged.builds_indexes:
        return 0, 0
    schema = staged.schema
    waited_for = [spec for spec in declared_indexes(schema) if not spec.is_staged]
    return len(unfinished_indexes(plan_indexes(schema, catalog))), len(waited_for)


def report_push_completed(
    _transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> None:
    """Tracing data of the CLI: accepted and dropped."""


# --- finish -----------------------------------------------------------------------------------------


@_pushing
def finish_push(
    transaction: Transaction, body: dict[str, Any], _prepared: None, context: SystemContext
) -> dict[str, Any]:
    """Activate a staged push in this one transaction; the diff of spec 02 8."""
    message = body.get("message")
    if isinstance(message, str) and len(message.encode()) > limits.PUSH_MESSAGE_BYTES_MAX:
        raise errors.push_message_too_long()
    found = find_push(transaction, body.get("startPush"))
    if found is None:
        raise errors.push_replaced()
    push_id, staged = found
    catalog = transaction.catalog
    if catalog.environment != staged.environment:
        raise errors.environment_changed()
    declarations = env_declarations(staged.definition)
    check_environment(declarations, {**context.system_environment, **catalog.environment}, catalog)
    if body.get("dryRun") is True or staged.is_dry_run:
        return {"authDiff": {"added": [], "removed": []}, "definitionDiffs": {}, "componentDiffs": {}}
    if not staged.builds_indexes:
        raise errors.push_replaced()  # code generation never finishes: nothing was built for it
    return _activate(transaction, push_id, staged)


def _activate(transaction: Transaction, push_id: str, staged: StagedPush) -> dict[str, Any]:
    transaction.budget.lift_for_system()  # some rows per module, of which there may be many
    catalog = transaction.catalog
    activate_schema(transaction, staged.schema_id)
    finish_indexes(transaction, staged.schema)
    module_diff = replace_modules(transaction, staged.modules)
    previous = {module.sha256 for module in catalog.modules.values()}
    delete_sources(transaction, previous - staged.hashes)
    replace_handles(transaction, _function_paths(staged))
    config_diff = _replace_udf_config(transaction, staged)
    auth_diff = replace_auth(transaction, staged.auth)
    transaction.delete(catalog.tables["_pushes"], push_id)
    component_diff = {
        "diffType": {"type": "modify"},
        "moduleDiff": module_diff,
        "udfConfigDiff": config_diff,
        "cronDiff": replace_crons(transaction, _cron_specs(staged)),
        "indexDiff": staged.index_diff,
        "schemaDiff": _schema_diff(catalog, staged),
    }
    return {"authDiff": auth_diff, "definitionDiffs": {}, "componentDiffs": {"": component_diff}}


def _function_paths(staged: StagedPush) -> list[str]:
    """Canonical paths of everything that may be called."""
    return [
        f"{module.path}:{function['name']}"
        for module in staged.modules
        for function in orjson.loads(module.analysis)["functions"]
    ]


def _cron_specs(staged: StagedPush) -> list[Spec]:
    """What the push's crons.js exports; nothing without one."""
    analyses = [orjson.loads(module.analysis) for module in staged.modules if module.path == CRONS_PATH]
    return (analyses[0]["cronSpecs"] or []) if analyses else []


def _replace_udf_config(transaction: Transaction, staged: StagedPush) -> dict[str, str] | None:
    """`definition` is ours: what the active app declares (app_definition.active_declarations)."""
    fields = {
        "serverVersion": staged.server_version,
        "importPhaseRngSeed": staged.import_seed,
        "importPhaseUnixTimestamp": staged.import_ts,
        "definition": orjson.dumps(staged.definition).decode(),
    }
    stored = transaction.catalog.udf_config
    if stored is None:
        transaction.insert("_udf_config", fields)
        return None
    transaction.replace(transaction.catalog.tables["_udf_config"], stored["_id"], fields)
    if stored["serverVersion"] == staged.server_version:
        return None
    return {"previous_version": stored["serverVersion"], "next_version": staged.server_version}


def _schema_diff(catalog: Catalog, staged: StagedPush) -> dict[str, str | None] | None:
    previous = catalog.schema.to_json() if catalog.schema is not None else None
    if previous == staged.schema_text:
        return None
    return {"previous_schema": previous, "next_schema": staged.schema_text}
