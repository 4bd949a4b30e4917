"""What a push learns by evaluating its modules in the sandbox, or in Node.js (spec 02 9).

Function modules are evaluated once, all in the one image that later calls will use (`image_request`), so
analysis and calls see the same evaluation. `schema.js`, `auth.config.js` and `convex.config.js` are
evaluated alone, each under its own rules. Nothing here touches the database.

Read in this order: analyse, Evaluator.default_export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from functions.catalog import ISOLATE, NODE
from functions.cron_jobs import cron_specs
from functions.images import image_request, is_entry
from functions.isolate import CallRequest, Engine, Image, ImageRequest, Returned, Settled, Terminated, Thrown
from functions.node_packages import NodePackage
from functions.outcome import LogLine, error_of_termination, error_of_thrown
from functions.source_map import SourceMap
from functions.system import errors
from functions.system.node_analysis import NodeAnalyser, analyse_node
from functions.system.push_request import APP_PATH, AUTH_PATH, SCHEMA_PATH, PushedModule
from functions.validators import parse_args_validator, parse_returns_validator
from log import limits
from log.errors import BackendError, bad_request
from log.invariant import invariant

HTTP_PATH, CRONS_PATH = "http.js", "crons.js"
_UDF_TYPES = {"query": "Query", "mutation": "Mutation", "action": "Action"}

_PURPOSES = {"schema": "schema", "auth": "auth", "app": "functions", "component": "schema"}
"""How `process.env` behaves for a file evaluated alone: components may not read it, as schemas may not."""

Analysis = dict[str, Any]
"""AnalyzedModule of spec 02 7, as stored and as answered."""


class _ImportHost:
    """functions.isolate.HostCalls of an evaluation: nothing may be asked, nothing is kept."""

    def syscall(self, name: str, args: bytes) -> bytes:
        raise bad_request("NoSyscallDuringImport", f"Syscall {name} unsupported at import time")

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        raise bad_request("NoSyscallDuringImport", f"{name} unsupported at import time")

    def console(self, level: str, messages: list[str]) -> None:
        return None

    def observed(self, what: str) -> None:
        return None


class EvaluationFailed(Exception):
    """JavaScript refused; `text` is the error with its frames, `message` its text alone."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(text, message)
        self.text, self.message = text, message


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Enters an engine for a push: under this environment, with this import seed and time."""

    engine: Engine
    environment: dict[str, str]
    udf_config: dict[str, Any]
    node: NodeAnalyser | None = None
    node_packages: tuple[NodePackage, ...] = ()

    def functions_image(self, modules: Sequence[PushedModule]) -> Image:
        """The image that calls will use once these modules are active."""
        sources = {
            module.path: module.source.encode()
            for module in modules
            if module.path not in (SCHEMA_PATH, AUTH_PATH, APP_PATH)
        }
        return self.engine.build_image(image_request(sources, self.environment, self.udf_config))

    def default_export(
        self, module: PushedModule, kind: str, imports: Mapping[str, bytes] | None = None
    ) -> bytes:
        """The JSON that a file evaluated alone exports; kind schema, auth, app or component (spec 02
        9.4-9.6). `imports` are all that it can import: sources by path."""
        sources = {module.path: module.source.encode(), **(imports or {})}
        shared = image_request(sources, self.environment, self.udf_config)
        image = self.engine.build_image(
            ImageRequest(
                modules=shared.modules,
                entries=(module.path,),
                environment=self.environment,
                import_now_ms=shared.import_now_ms,
                import_seed=shared.import_seed,
                clock_allowed=kind == "schema",
                purpose=_PURPOSES[kind],
            )
        )
        return self.evaluate(image, module.path, "app" if kind == "component" else kind, [module])

    def evaluate(self, image: Image, path: str, kind: str, modules: Sequence[PushedModule]) -> bytes:
        """The JSON of one module's default export, or EvaluationFailed."""
        settled = self._enter(image, CallRequest("evaluate", (path, kind)))
        if isinstance(settled, Returned):
            return settled.json
        raise EvaluationFailed(error_text(settled, modules), _message_of(settled))

    def analyse_exports(self, image: Image, paths: Sequence[str]) -> dict[str, Any]:
        """{path: {functions} | {error}} of the modules of an image."""
        settled = self._enter(image, CallRequest("analyze", tuple(paths)))
        if isinstance(settled, Returned):
            found: dict[str, Any] = orjson.loads(settled.json)
            return found
        raise errors.invalid_modules(paths[0], _message_of(settled))

    def _enter(self, image: Image, request: CallRequest) -> Settled:
        limited = CallRequest(
            request.operation, request.target, user_seconds_max=float(limits.ANALYSIS_SECONDS_MAX)
        )
        isolate = self.engine.isolate()
        try:
            settled = isolate.start(image, limited, _ImportHost())
        finally:
            self.engine.release(isolate)
        invariant(settled is not None, "an evaluation waits for nothing", operation=request.operation)
        assert settled is not None  # for the type checker; the line above is the check
        return settled


def analyse(evaluator: Evaluator, modules: Sequence[PushedModule]) -> dict[str, Analysis]:
    """Every module by path; 400 InvalidModules names the first that cannot be loaded (spec 02 12)."""
    ours = [module for module in modules if module.environment == ISOLATE]
    image = evaluator.functions_image(ours)
    entries = sorted(module.path for module in ours if is_entry(module.path))
    for path in entries:
        failure = image.module_error(path)
        if failure is not None:
            raise errors.invalid_modules(path, error_text(failure, modules) + _console_text(image))
    exports = evaluator.analyse_exports(image, entries) if entries else {}
    analyses = {module.path: _empty_analysis() for module in modules}
    for path in entries:
        if "error" in exports[path]:
            raise errors.invalid_modules(path, exports[path]["error"])
        analyses[path]["functions"] = _analysed_functions(path, exports[path]["functions"])
    nodes = [module for module in modules if module.environment == NODE]
    packages = evaluator.node_packages
    for path, functions in analyse_node(evaluator.node, nodes, evaluator.environment, packages).items():
        analyses[path]["functions"] = _analysed_functions(path, functions)
    if HTTP_PATH in analyses:
        analyses[HTTP_PATH]["httpRoutes"] = _http_routes(evaluator, image, modules)
    if CRONS_PATH in analyses:
        exported = _exported(evaluator, image, CRONS_PATH, "crons", modules)
        found = {path: analysis["functions"] for path, analysis in analyses.items()}
        analyses[CRONS_PATH]["cronSpecs"] = cron_specs(exported, found)
    return analyses


def _empty_analysis() -> Analysis:
    return {"functions": [], "httpRoutes": None, "cronSpecs": None, "sourceMapped": None}


def _analysed_functions(path: str, functions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_analysed_function(path, function) for function in functions]


def _analysed_function(path: str, function: dict[str, Any]) -> dict[str, Any]:
    """AnalyzedFunction of spec 02 7. Validators are parsed here: the catalog must be able to, later."""
    for parse, text in (
        (parse_args_validator, function["args"]),
        (parse_returns_validator, function["returns"]),
    ):
        try:
            parse(orjson.loads(text) if text else None)
        except BackendError as failure:
            raise errors.invalid_modules(path, f"{path}:{function['name']}: {failure.message}") from None
    visibility = function["visibility"]
    return {
        "name": function["name"],
        "pos": None,  # the engine does not report where a function was defined (spec 02 9.1)
        "udfType": _UDF_TYPES[function["kind"]],
        "visibility": {"kind": visibility} if visibility is not None else None,
        "args": function["args"],
        "returns": function["returns"],
    }


def _http_routes(evaluator: Evaluator, image: Image, modules: Sequence[PushedModule]) -> list[dict[str, Any]]:
    """The routes of http.js: exact paths and `<prefix>*` (spec 02 9.2)."""
    routes = _exported(evaluator, image, HTTP_PATH, "http", modules)
    return [
        {"route": {"path": route["path"], "method": route["method"]}, "pos": None}
        for route in routes
        if isinstance(route["path"], str) and isinstance(route["method"], str)
    ]


def _exported(
    evaluator: Evaluator, image: Image, path: str, kind: str, modules: Sequence[PushedModule]
) -> Any:
    try:
        return orjson.loads(evaluator.evaluate(image, path, kind, modules))
    except EvaluationFailed as failure:
        raise errors.invalid_modules(path, failure.text) from None


# --- error texts ------------------------------------------------------------------------------------


def error_text(settled: Settled, modules: Sequence[PushedModule]) -> str:
    """`Uncaught Error: boom` and its frames in source positions (spec 02 12, spec 03 3.6)."""
    texts = {module.path: module.source_map for module in modules if module.source_map}

    def find(path: str) -> SourceMap | None:
        return SourceMap(texts[path]) if path in texts else None

    if isinstance(settled, Thrown):
        return error_of_thrown(settled, find).message
    assert isinstance(settled, Terminated)
    return error_of_termination(settled).message


def _console_text(image: Image) -> str:
    """What modules printed before one of them failed, behind a blank line (spec 02 12)."""
    lines = [LogLine(level, tuple(orjson.loads(text))).pretty() for level, text in image.console_lines]
    return "\n" + "\n".join(lines) if lines else ""


def _message_of(settled: Settled) -> str:
    return settled.message if isinstance(settled, Thrown | Terminated) else ""
