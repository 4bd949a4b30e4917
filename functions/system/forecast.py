"""What pushing a schema would cost, without pushing it (spec 02 8, evaluate_schema).

Documents are counted only where the push would have to read them anyway, or where the CLI asks before an
index is dropped; so asking costs no more than pushing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from functions.catalog import BACKFILLING, Catalog
from functions.components import APP_PATH
from functions.schema import Schema, TableDefinition
from functions.snapshot import TableSize
from functions.system import errors
from functions.system.analysis import Analysis, Evaluator
from functions.system.component_definitions import evaluate_definitions
from functions.system.component_tree import every_instance, instance_tree
from functions.system.operation import Evaluation, SystemContext
from functions.system.push import catalog_as_found, next_udf_config
from functions.system.push_request import PushRequest, parse_push
from functions.system.schema_changes import IndexPlan, IndexSpec, plan_indexes, spec_of
from functions.system.schema_evaluation import evaluate_schema_file
from functions.transaction import Transaction
from functions.validators import AnyValue, is_subset


@dataclass(frozen=True, slots=True)
class PushedSchema:
    """The schema of one component, or of the app; None: it has none."""

    component: str
    definition_path: str
    schema: Schema | None


@errors.pushing
def prepare_schemas(transaction: Transaction, body: dict[str, Any], context: SystemContext) -> Evaluation:
    """Read a push request; evaluating it tells its schemas and who has them, and nothing else of it."""
    return partial(_evaluate, parse_push(body), transaction.catalog, context)


@errors.pushing
def _evaluate(request: PushRequest, catalog: Catalog, context: SystemContext) -> list[PushedSchema]:
    udf_config = next_udf_config(catalog, request.server_version, context)
    evaluator = Evaluator(context.engine, context.variables_of(catalog), udf_config)
    files = {APP_PATH: request.schema}
    files.update((component.definition_path, component.schema) for component in request.components)
    schemas = {path: evaluate_schema_file(evaluator, file) for path, file in files.items()}
    files_of = {component.definition_path: component.modules for component in request.components}
    analyses: dict[str, dict[str, Analysis]] = {
        path: {module.path: {} for module in modules} for path, modules in files_of.items()
    }
    definitions = evaluate_definitions(evaluator, request)
    tree = instance_tree(definitions, analyses, requires_variables=False)
    return [
        PushedSchema(instance.path, instance.definition_path, schemas[instance.definition_path])
        for instance in every_instance(tree)
    ]


def evaluate_schemas(
    transaction: Transaction, _body: dict[str, Any], pushed: list[PushedSchema], _context: SystemContext
) -> dict[str, Any]:
    """The answer of spec 02 8; reads and changes nothing."""
    known = {catalog.component.definition_path for catalog in transaction.catalog.everywhere()}
    return {
        "newComponentDefinitions": sorted({each.definition_path for each in pushed} - known - {APP_PATH}),
        "componentSchemaEvaluations": {each.component: _evaluation(transaction, each) for each in pushed},
    }


def _evaluation(transaction: Transaction, pushed: PushedSchema) -> dict[str, Any]:
    schema, catalog = pushed.schema, catalog_as_found(transaction, pushed.component)
    sizes = _Sizes(transaction, catalog)
    tables = [schema.tables[name] for name in sorted(schema.tables)] if schema is not None else []
    return {
        "definitionPath": pushed.definition_path,
        "schemaValidation": schema is not None and schema.schema_validation,
        "tables": [_table_forecast(table, schema, catalog, sizes) for table in tables],
        "indexes": _index_forecasts(plan_indexes(schema, catalog), sizes),
        "discardedStagedValidators": [],
    }


NOTHING = TableSize()


class _Sizes:
    """Of the tables of a catalog, there or not."""

    def __init__(self, transaction: Transaction, catalog: Catalog) -> None:
        self._transaction, self._catalog = transaction, catalog

    def of(self, table_name: str) -> TableSize:
        table = self._catalog.tables.get(table_name)
        return self._transaction.table_size(table) if table is not None else NOTHING


def _table_forecast(
    table: TableDefinition, schema: Schema | None, catalog: Catalog, sizes: _Sizes
) -> dict[str, Any]:
    outcome = _outcome(table, schema, catalog)
    size = sizes.of(table.name) if outcome == "mustWalk" else NOTHING
    return {"name": table.name, "outcome": outcome, "numDocs": size.documents, "sizeBytes": size.bytes}


def _outcome(table: TableDefinition, schema: Schema | None, catalog: Catalog) -> str:
    """Why the documents of a table need not be read, or that they must be."""
    if schema is None or not schema.schema_validation:
        return "notValidated"
    if isinstance(table.document_type, AnyValue):
        return "supersetOfShape"
    active = catalog.schema
    enforced = active.tables.get(table.name) if active is not None and active.schema_validation else None
    if enforced is not None and is_subset(enforced.document_type, table.document_type):
        return "supersetOfEnforced"
    return "mustWalk"


def _index_forecasts(plan: IndexPlan, sizes: _Sizes) -> list[dict[str, Any]]:
    gone = [*plan.removed, *plan.superseded]
    forecasts = [_index_forecast(spec_of(*each), "dropped", False, sizes) for each in gone]
    forecasts += [_index_forecast(spec, "added", True, sizes) for spec in plan.added]
    for change, pairs in (
        ("identical", plan.identical),
        ("enabled", plan.enabled),
        ("disabled", plan.disabled),
    ):
        for spec, index in pairs:
            forecasts.append(_index_forecast(spec, change, index.state == BACKFILLING, sizes))
    return sorted(forecasts, key=lambda each: each["name"])


def _index_forecast(spec: IndexSpec, change: str, needs_backfill: bool, sizes: _Sizes) -> dict[str, Any]:
    counts = needs_backfill or change == "dropped"  # the CLI asks before either on a large table
    documents = sizes.of(spec.table).documents if counts else 0
    return {**spec.to_json(), "change": change, "needsBackfill": needs_backfill, "numDocs": documents}
