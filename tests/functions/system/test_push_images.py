"""Images that are built before a push is activated are those that are asked for afterwards."""

from __future__ import annotations

from typing import Any

from functions.images import Images
from functions.isolate import ImageRequest
from functions.system.push_images import image_requests
from functions.system.staged_push import find_push

from ...support.deployment import Deployment, functions_module, module, push_body
from .push_cases import MESSAGES
from .test_component_definitions import component, config

SYSTEM = {"CONVEX_CLOUD_URL": "http://cloud.test", "CONVEX_SITE_URL": "http://site.test"}
OUTER, INNER = "../outer", "../inner"
CODE = functions_module("lib.js", "export const f = mutation();")
ROUTER = module(
    "http.js",
    "export default { isRouter: true, getRoutes: () => [], lookup: () => null,"
    ' runRequest: async () => "null" };',
)


class Asked(Exception):
    """Instead of an image."""

    def __init__(self, request: ImageRequest) -> None:
        self.request = request


class Recorder:
    """functions.isolate.Engine, as far as images go."""

    def build_image(self, request: ImageRequest) -> Any:
        raise Asked(request)


def asked_for(deployment: Deployment, path: str) -> ImageRequest:
    """What the first call of the component asks of the engine now."""
    catalog = deployment.database.catalog.of_component(path)
    assert catalog is not None
    snapshot = deployment.database.begin(is_read_only=True).snapshot
    try:
        Images(Recorder(), SYSTEM).image_of(catalog, snapshot)  # type: ignore[arg-type]
    except Asked as asked:
        return asked.request
    raise AssertionError("an image was asked for")


def prepared(deployment: Deployment, started: Any) -> list[ImageRequest]:
    transaction = deployment.database.begin(is_read_only=True)
    found = find_push(transaction, started)
    assert found is not None
    return list(image_requests(found[1], transaction.snapshot, SYSTEM))


def optional(name: str) -> Any:
    """The declaration of a variable."""
    return [name, {"type": "value", "value": '{"type":"string"}', "optional": True}]


def use(path: str, name: str, bound: list[Any]) -> Any:
    return {"name": name, "path": path, "args": [], "env": bound}


def nested_push() -> Any:
    """An app that mounts `outer` with variables and a prefix, and `inner` below it, which is bound to one of
    `outer`'s; each with code of its own."""
    bound_outside = [
        ["GIVEN", {"type": "value", "value": "literal"}],
        ["PASSED", {"type": "envVar", "name": "APP"}],
    ]
    bound_inside = [["BELOW", {"type": "envVar", "name": "PASSED"}]]
    outer = config(
        "childComponent",
        "outer",
        uses=(INNER,),
        childComponents=[use(INNER, "inner", bound_inside)],
        envVars=[optional("GIVEN"), optional("PASSED")],
    )
    inner = config("childComponent", "inner", envVars=[optional("BELOW")])
    app = config(
        "app",
        uses=(OUTER,),
        childComponents=[use(OUTER, "outer", bound_outside)],
        httpMounts={"/outer/": "_reference/childComponent/outer"},
        envVars=[optional("APP")],
    )
    definitions = [
        {**component(OUTER, outer, INNER), "functions": [CODE, ROUTER]},
        {**component(INNER, inner), "functions": [functions_module("lib.js", "export const g = query();")]},
    ]
    body = push_body(MESSAGES, app=app, componentDefinitions=definitions)
    body["appDefinition"]["dependencies"] = [OUTER]
    return body


def test_an_app_without_components_asks_for_what_was_built() -> None:
    deployment = Deployment()
    started = deployment.start(MESSAGES, functions_module("n.js", "export const f = query();"))
    early = prepared(deployment, started)
    deployment.finish(started)
    assert early == [asked_for(deployment, "")]


def test_each_component_asks_for_what_was_built_with_its_variables_and_its_site() -> None:
    deployment = Deployment()
    changes = [{"name": "APP", "value": "of the app"}]
    deployment.operate("update_environment_variables", {"changes": changes})
    started = deployment.operate("start_push", nested_push())
    deployment.database.maintain()
    assert deployment.wait(started) == {"type": "complete"}
    early = prepared(deployment, started)
    deployment.finish(started)
    assert early == [asked_for(deployment, path) for path in ("", "outer", "outer/inner")]
    environments = [request.environment for request in early]
    assert environments[1]["PASSED"] == environments[2]["BELOW"] == "of the app"
    assert environments[1]["CONVEX_SITE_URL"] != SYSTEM["CONVEX_SITE_URL"]
