"""The second half of a push: what is staged becomes what runs, in one transaction (spec 02 8, 11).

A push is activated whole or not at all: the app and every component it mounts, and what it mounts no longer
is unmounted in the same commit.
"""

from __future__ import annotations

from typing import Any

import orjson

from functions.components import APP_PATH, Component
from functions.cron_jobs import Spec, replace_crons
from functions.function_handles import replace_handles
from functions.node_bundle import NODE_PACKAGES
from functions.node_packages import packages_tree
from functions.system import errors
from functions.system.analysis import CRONS_PATH
from functions.system.auth_config import replace_auth
from functions.system.component_rows import mount, replace_definitions, unmount
from functions.system.deployment_events import record_push
from functions.system.env_declarations import check_environment, env_declarations
from functions.system.modules import StagedModule, delete_sources, replace_modules
from functions.system.operation import SystemContext
from functions.system.schema_changes import activate_schema, finish_indexes
from functions.system.staged_push import StagedInstance, StagedPush, find_push
from functions.transaction import Transaction
from log import limits


@errors.pushing
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
    if (catalog.environment, catalog.canonical_urls) != (staged.environment, staged.canonical_urls):
        raise errors.environment_changed()
    declarations = env_declarations(staged.app.definition)
    check_environment(declarations, context.variables_of(catalog), catalog)
    if body.get("dryRun") is True or staged.is_dry_run:
        return {"authDiff": {"added": [], "removed": []}, "definitionDiffs": {}, "componentDiffs": {}}
    if not staged.builds_indexes:
        raise errors.push_replaced()  # code generation never finishes: nothing was built for it
    answer = _activate(transaction, push_id, staged)
    record_push(transaction, message if isinstance(message, str) else None, answer["componentDiffs"])
    return answer


def _activate(transaction: Transaction, push_id: str, staged: StagedPush) -> dict[str, Any]:
    transaction.budget.lift_for_system()  # some rows per module, of which there may be many
    previous = {module.sha256 for module in transaction.catalog.every_module()}
    definitions = {path: each.definition for path, each in staged.definitions.items()}
    definition_ids = replace_definitions(transaction, definitions)
    config_diff = _replace_udf_config(transaction, staged)
    diffs = {
        instance.path: _activate_instance(transaction, staged, instance, definition_ids, config_diff)
        for instance in staged.instances
    }
    for component in _left_out(transaction, staged):
        diffs[component.path] = _unmount(transaction, component)
    delete_sources(transaction, previous - staged.hashes)
    replace_handles(transaction, _functions_of(transaction, staged))
    auth_diff = replace_auth(transaction, staged.auth)
    transaction.delete(transaction.catalog.tables["_pushes"], push_id)
    return {"authDiff": auth_diff, "definitionDiffs": {}, "componentDiffs": diffs}


def _activate_instance(
    transaction: Transaction,
    staged: StagedPush,
    instance: StagedInstance,
    definition_ids: dict[str, str],
    config_diff: dict[str, str] | None,
) -> dict[str, Any]:
    """The component's diff."""
    catalog, definition = transaction.catalog_of(instance.path), staged.definitions[instance.definition_path]
    if catalog is None:
        raise errors.push_replaced()
    previous_schema = catalog.schema.to_json() if catalog.schema is not None else None
    definition_id = definition_ids[instance.definition_path]
    kind = mount(transaction, instance.path, definition_id, instance.bindings, instance.http_prefix)
    transaction.enter_component(instance.path)
    activate_schema(transaction, instance.schema_id)
    finish_indexes(transaction, definition.schema)
    diff = {
        "diffType": {"type": kind},
        "moduleDiff": replace_modules(transaction, definition.modules),
        "udfConfigDiff": config_diff if instance.path == APP_PATH else None,
        "cronDiff": replace_crons(transaction, _cron_specs(definition.modules)),
        "indexDiff": instance.index_diff,
        "schemaDiff": _schema_diff(previous_schema, definition.schema_text),
    }
    transaction.enter_component(APP_PATH)
    return diff


def _left_out(transaction: Transaction, staged: StagedPush) -> list[Component]:
    """The mounted components that the push does not have."""
    kept = {instance.path for instance in staged.instances}
    installed = (catalog.component for catalog in transaction.catalog.everywhere())
    return [each for each in installed if each.is_mounted and not each.is_app and each.path not in kept]


def _unmount(transaction: Transaction, component: Component) -> dict[str, Any]:
    """Its functions and crons go, its tables and their indexes stay."""
    transaction.enter_component(component.path)
    diff = {
        "diffType": {"type": "unmount"},
        "moduleDiff": replace_modules(transaction, ()),
        "udfConfigDiff": None,
        "cronDiff": replace_crons(transaction, ()),
        "indexDiff": {"added_indexes": [], "removed_indexes": []},
        "schemaDiff": None,
    }
    transaction.enter_component(APP_PATH)
    unmount(transaction, component)
    return diff


def _functions_of(transaction: Transaction, staged: StagedPush) -> list[tuple[str | None, str]]:
    """(namespace, canonical path) of everything that may be called."""
    found: list[tuple[str | None, str]] = []
    for instance in staged.instances:
        catalog = transaction.catalog_of(instance.path)
        assert catalog is not None
        for module in staged.definitions[instance.definition_path].modules:
            for function in orjson.loads(module.analysis)["functions"]:
                found.append((catalog.component.namespace, f"{module.path}:{function['name']}"))
    return found


def _cron_specs(modules: tuple[StagedModule, ...]) -> list[Spec]:
    """What a crons.js among them exports; nothing without one."""
    analyses = [orjson.loads(module.analysis) for module in modules if module.path == CRONS_PATH]
    return (analyses[0]["cronSpecs"] or []) if analyses else []


def _replace_udf_config(transaction: Transaction, staged: StagedPush) -> dict[str, str] | None:
    """`definition` is ours: what the active app declares (app_definition.active_declarations). So are the
    packages its Node modules import."""
    fields = {
        "serverVersion": staged.server_version,
        "importPhaseRngSeed": staged.import_seed,
        "importPhaseUnixTimestamp": staged.import_ts,
        "definition": orjson.dumps(staged.app.definition).decode(),
        NODE_PACKAGES: packages_tree(staged.node_packages),
    }
    stored = transaction.catalog.udf_config
    if stored is None:
        transaction.insert("_udf_config", fields)
        return None
    transaction.replace(transaction.catalog.tables["_udf_config"], stored["_id"], fields)
    if stored["serverVersion"] == staged.server_version:
        return None
    return {"previous_version": stored["serverVersion"], "next_version": staged.server_version}


def _schema_diff(previous: str | None, pushed: str | None) -> dict[str, str | None] | None:
    return {"previous_schema": previous, "next_schema": pushed} if previous != pushed else None
