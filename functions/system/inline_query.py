"""A query that an operator sends as source text, made ready to run (spec 02 14, `run --inline-query`).

The text is a module that imports `query` from a module of ours (`functions/engine/prelude/wrappers.entry.js`)
and exports one query as its default. It is evaluated in an image of its own, without the app's modules; what
it calls by `ctx.runQuery` runs in the app's image as ever.
"""

from __future__ import annotations

from typing import Any

from functions.catalog import AnalysedFunction, analysed_function
from functions.engine import read_query_wrappers
from functions.images import image_request
from functions.invocation import GivenQuery
from functions.isolate import Engine
from functions.path import DEFAULT_FUNCTION
from functions.system import errors
from functions.system.analysis import Evaluator, error_text
from functions.transaction import Transaction
from log.errors import BackendError

INLINE_PATH = "testQuery.js"
WRAPPERS_PATH = "_system/repl/wrappers.js"
_REFUSED_KINDS = {"mutation": "Mutations", "action": "Actions"}


def given_query(
    engine: Engine, transaction: Transaction, system_environment: dict[str, str], source: str
) -> GivenQuery:
    """Evaluate and check the module; 400 when it is no query."""
    catalog = transaction.catalog
    environment = {**catalog.built_in_variables(system_environment), **catalog.environment}
    modules = {INLINE_PATH: source.encode(), WRAPPERS_PATH: read_query_wrappers()}
    image = engine.build_image(image_request(modules, environment, catalog.udf_config))
    failure = image.module_error(INLINE_PATH)
    if failure is not None:
        raise errors.invalid_inline_query(error_text(failure, ()).rstrip())
    evaluator = Evaluator(engine, environment, catalog.udf_config or {})
    exports = evaluator.analyse_exports(image, [INLINE_PATH])[INLINE_PATH]
    if "error" in exports:
        raise errors.invalid_inline_query(exports["error"])
    return GivenQuery(image, _only_query(exports["functions"]))


def _only_query(functions: list[dict[str, Any]]) -> AnalysedFunction:
    if any(function["name"] != DEFAULT_FUNCTION for function in functions):
        raise errors.invalid_inline_query("Only `export default` is supported.")
    if not functions:
        raise errors.invalid_inline_query("Default export is not a Convex function.")
    function = functions[0]
    if function["kind"] != "query":
        raise errors.unsupported_inline_query(_REFUSED_KINDS[function["kind"]])
    try:
        return analysed_function({**function, "udfType": "Query", "visibility": None})
    except BackendError as failure:  # its validators
        raise errors.invalid_inline_query(failure.message) from None
