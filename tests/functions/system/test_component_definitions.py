"""Evaluating `convex.config.js` files: dependencies first, imports answered, refusals; and exports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.system.analysis import Evaluator
from functions.system.component_definitions import evaluate_definitions, with_exports
from functions.system.push_request import parse_push
from log.errors import BackendError
from log.secrets import base64url

from ...support.deployment import module, push_body
from ...support.javascript import engine

COUNTER, STORE = "../node_modules/counter", "../node_modules/store"
VARIABLES = {"KEY": "value"}


def config(kind: str, name: Any = "", uses: tuple[str, ...] = (), before: str = "", **definition: Any) -> Any:
    """A convex.config.js that uses each imported definition under its own name."""
    lines = [
        f'import child{number} from "./_componentDeps/{base64url(path.encode())}";'
        for number, path in enumerate(uses)
    ]
    children = ", ".join(
        f"{{ name: child{number}.defaultName, path: child{number}.componentDefinitionPath, args: [], "
        "env: [] }"
        for number in range(len(uses))
    )
    tree = {"definitionType": {"type": kind, "name": name, "args": []}, "httpMounts": {}, **definition}
    lines += [before, f"const childComponents = [{children}];"]
    lines += [f"export default {{ export: () => ({{ childComponents, ...{json.dumps(tree)} }}) }};"]
    return module("convex.config.js", "\n".join(lines))


def component(path: str, definition: Any, *dependencies: str) -> Any:
    return {
        "definitionPath": path,
        "definition": definition,
        "dependencies": list(dependencies),
        "schema": None,
        "functions": [],
        "udfServerVersion": "1.48.0",
    }


def evaluated(app: Any, *components: Any, dependencies: tuple[str, ...] = ()) -> dict[str, Any]:
    body = push_body(app=app, componentDefinitions=list(components))
    body["appDefinition"]["dependencies"] = list(dependencies)
    udf_config = {"serverVersion": "1.48.0", "importPhaseRngSeed": bytes(32), "importPhaseUnixTimestamp": 0}
    return evaluate_definitions(Evaluator(engine(), VARIABLES, udf_config), parse_push(body))


def refusal_of(app: Any, *components: Any, dependencies: tuple[str, ...] = ()) -> BackendError:
    with pytest.raises(BackendError) as raised:
        evaluated(app, *components, dependencies=dependencies)
    return raised.value


def test_an_app_without_a_file_is_the_default_app() -> None:
    found = evaluated(None)
    assert list(found) == [""] and found[""]["definitionType"] == {"type": "app"}


def test_imports_are_answered_with_definitions_evaluated_before() -> None:
    found = evaluated(
        config("app", uses=(COUNTER,)),
        component(COUNTER, config("childComponent", "counter", (STORE,)), STORE),
        component(STORE, config("childComponent", "store")),
        dependencies=(COUNTER,),
    )
    assert list(found) == [STORE, COUNTER, ""]
    assert [each["path"] for each in found.values()] == list(found)
    assert found[""]["childComponents"] == [{"name": "counter", "path": COUNTER, "args": [], "env": []}]
    assert found[COUNTER]["childComponents"] == [{"name": "store", "path": STORE, "args": [], "env": []}]
    assert found[STORE]["definitionType"] == {"type": "childComponent", "name": "store", "args": []}


def test_an_imported_definition_exports_what_it_declared() -> None:
    before = 'if (child0.export().definitionType.name !== "store") throw new Error("another definition");'
    store = component(STORE, config("childComponent", "store"))
    assert evaluated(config("app", uses=(STORE,), before=before), store, dependencies=(STORE,))


def test_definitions_that_depend_on_one_another_are_refused() -> None:
    failure = refusal_of(
        None,
        component(COUNTER, config("childComponent", "counter"), STORE),
        component(STORE, config("childComponent", "store"), COUNTER),
        dependencies=(COUNTER,),
    )
    assert failure.code == "CyclicImport" and COUNTER in failure.message and STORE in failure.message


def test_only_the_app_reads_environment_variables() -> None:
    read = 'if (process.env.KEY !== "value") throw new Error("not seen");'
    assert evaluated(config("app", before=read))
    failure = refusal_of(None, component(STORE, config("childComponent", "store", before=read)))
    assert failure.code == "EnvironmentVariablesUnsupported" and STORE in failure.message


@pytest.mark.parametrize(
    "wrong", [module("convex.config.js", "export default 7;"), config("app"), config("childComponent", 7)]
)
def test_what_is_no_component_is_refused_with_its_path(wrong: Any) -> None:
    failure = refusal_of(None, component(STORE, wrong))
    assert failure.code == "InvalidDefinition"
    assert failure.message.startswith(f"The default export of `convex.config.ts` in component {STORE} has an")


@pytest.mark.parametrize(
    "parts",
    [
        {"childComponents": 7},
        {"childComponents": [{"name": "a"}]},
        {"childComponents": [{"name": "a", "path": COUNTER}]},
        {"childComponents": [{"name": "a", "path": STORE, "env": [["K", {"type": "value"}]]}]},
        {"childComponents": [{"name": "a", "path": STORE, "env": [["K"]]}]},
        {"httpMounts": {"/x/": 7}},
        {"httpPrefix": 7},
        {"envVars": [7]},
        {"definitionType": "app"},
    ],
)
def test_a_definition_of_another_shape_is_refused(parts: dict[str, Any]) -> None:
    store = component(STORE, config("childComponent", "store"))
    failure = refusal_of(config("app", **parts), store, dependencies=(STORE,))
    assert failure.code == "InvalidDefinition", failure.message


@pytest.mark.parametrize("before", ['throw new Error("boom");', 'import "./other.js";', "Date.now();"])
def test_a_file_that_cannot_be_evaluated_is_refused(before: str) -> None:
    store = component(STORE, config("childComponent", "store", before=before))
    assert refusal_of(None, store).code == "InvalidConvexConfig"


def test_variables_of_components_are_checked_as_those_of_the_app() -> None:
    variables = [["KEY", {"type": "value", "value": '{"type":"number"}'}]]
    store = component(STORE, config("childComponent", "store", envVars=variables))
    assert refusal_of(None, store).code == "InvalidEnvVarDeclaration"


# --- exports ----------------------------------------------------------------------------------------


def analysed(*names: str, visibility: str = "public") -> Any:
    return {"functions": [{"name": name, "visibility": {"kind": visibility}} for name in names]}


def test_a_component_exports_its_public_functions_by_module_and_name() -> None:
    modules = {
        "a/b.js": analysed("f"),
        "a.js": analysed("g", "default"),
        "c.js": analysed("h", visibility="internal"),
    }

    def leaf(reference: str) -> Any:
        return {"type": "leaf", "leaf": f"_reference/function/{reference}"}

    branch = [
        ["g", leaf("a:g")],
        ["default", leaf("a:default")],
        ["b", {"type": "branch", "branch": [["f", leaf("a/b:f")]]}],
    ]
    exports = with_exports({"path": STORE}, modules)["exports"]
    assert exports == {"type": "branch", "branch": [["a", {"type": "branch", "branch": branch}]]}


def test_the_app_exports_nothing() -> None:
    definition = {"path": "", "exports": {"type": "branch", "branch": []}}
    assert with_exports(definition, {"a.js": analysed("f")}) == definition


def test_a_function_and_a_module_of_one_name_are_refused() -> None:
    with pytest.raises(BackendError) as raised:
        with_exports({"path": STORE}, {"a.js": analysed("b"), "a/b.js": analysed("f")})
    assert raised.value.code == "InvalidExport"
