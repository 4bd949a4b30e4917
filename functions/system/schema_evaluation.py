"""`schema.js`, evaluated and checked (spec 02 9.4, spec 04 4.1)."""

from __future__ import annotations

from functions.schema import Schema, parse_schema
from functions.system import errors
from functions.system.analysis import EvaluationFailed, Evaluator
from functions.system.push_request import PushedModule
from log.errors import BackendError, bad_request, invalid_schema

_CODES = {
    "Schema file missing default export": "MissingSchemaExportError",
    "Default export from schema file": "InvalidSchemaExport",
    "Environment variables unsupported": "NoEnvironmentVariablesInSchema",
}


def evaluate_schema_file(evaluator: Evaluator, module: PushedModule | None) -> Schema | None:
    """The schema a pushed file declares, every rule of spec 04 4.1 checked; None without a file."""
    if module is None:
        return None
    try:
        return parse_schema(evaluator.default_export(module, "schema").decode())
    except EvaluationFailed as failure:
        raise errors.while_evaluating_schema(_refusal(failure)) from None
    except BackendError as failure:
        raise errors.while_evaluating_schema(failure) from None


def _refusal(failure: EvaluationFailed) -> BackendError:
    for start, code in _CODES.items():
        if failure.message.startswith(start):
            return bad_request(code, failure.message)
    return invalid_schema(failure.text.rstrip())
