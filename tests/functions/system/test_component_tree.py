"""The tree of instances: names, bound variables, HTTP prefixes, exports, and every way they may not fit."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from functions.components import bound_environment
from functions.system.component_tree import (
    Instance,
    checked_component,
    every_instance,
    instance_tree,
)
from log import limits
from log.errors import BackendError

STRING = {"type": "string"}
ON = {"type": "literal", "value": "on"}
ROUTER = {
    "http.js": {"functions": [], "httpRoutes": [{"route": {"path": "/hi", "method": "GET"}, "pos": None}]}
}


def definition(path: str, *uses: Any, mounts: Any = None, **variables: Any) -> Any:
    """`variables` maps names to validators; a list of one validator makes it optional."""
    declared = [
        [name, {"type": "value", "value": json.dumps(kind[0]), "optional": True}]
        if isinstance(kind, list)
        else [name, {"type": "value", "value": json.dumps(kind)}]
        for name, kind in variables.items()
    ]
    kind = {"type": "childComponent", "name": path, "args": []} if path else {"type": "app"}
    mounted = {prefix: f"_reference/childComponent/{name}" for prefix, name in (mounts or {}).items()}
    return {
        "path": path,
        "definitionType": kind,
        "childComponents": list(uses),
        "httpMounts": mounted,
        "exports": {"type": "branch", "branch": []},
        "envVars": declared,
    }


def use(path: str, name: str | None = None, **bound: str) -> Any:
    """Values beginning with "$" name a variable of the parent."""
    env = [
        [
            key,
            {"type": "envVar", "name": value[1:]}
            if value.startswith("$")
            else {"type": "value", "value": value},
        ]
        for key, value in bound.items()
    ]
    return {"name": name if name is not None else path, "path": path, "args": [], "env": env}


def tree_of(*definitions: Any, routers: str = "", **options: Any) -> Instance:
    """`routers` are the paths of definitions with an http.js."""
    by_path = {each["path"]: each for each in definitions}
    analyses = {path: ROUTER if path and path in routers else {} for path in by_path}
    return instance_tree(by_path, analyses, **options)


def refusal_of(*definitions: Any, routers: str = "") -> str:
    with pytest.raises(BackendError) as raised:
        tree_of(*definitions, routers=routers)
    assert raised.value.code == "TypecheckError"
    return raised.value.message


# --- shape ------------------------------------------------------------------------------------------


def test_a_definition_used_twice_is_two_instances_with_children_of_their_own() -> None:
    root = tree_of(definition("", use("a"), use("a", "again")), definition("a", use("b")), definition("b"))
    found = [(each.path, each.name, each.definition_path) for each in every_instance(root)]
    assert found == [
        ("", "", ""),
        ("a", "a", "a"),
        ("a/b", "b", "b"),
        ("again", "again", "a"),
        ("again/b", "b", "b"),
    ]


def test_parents_come_before_their_children_in_random_trees() -> None:
    seed = random.randrange(1 << 32)
    source = random.Random(seed)
    names = [f"d{number}" for number in range(6)]
    uses = {
        name: [use(child) for child in names[number + 1 :] if source.random() < 0.5]
        for number, name in enumerate(names)
    }
    root = tree_of(definition("", use("d0")), *(definition(name, *uses[name]) for name in names))
    seen: set[str] = set()
    for each in every_instance(root):
        parent, _, _ = each.path.rpartition("/")
        assert each.path == "" or parent in seen or parent == "", seed
        assert each.path not in seen, seed
        seen.add(each.path)


@pytest.mark.parametrize("name", ["", "a-b", "1a", "a/b", "___"])
def test_an_instance_is_named_by_an_identifier(name: str) -> None:
    assert "cannot name a component" in refusal_of(definition("", use("a", name)), definition("a"))


def test_siblings_have_different_names() -> None:
    message = refusal_of(
        definition("", use("a")), definition("a", use("b", "x"), use("b", "x")), definition("b")
    )
    assert message.startswith("Component a/x is used twice.")


def test_instances_are_counted_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMPONENTS_MAX", 3)
    rest = definition("a", use("b")), definition("b")
    assert len(list(every_instance(tree_of(definition("", use("a"), use("b")), *rest)))) == 4
    message = refusal_of(definition("", use("a"), use("a", "again")), *rest)
    assert "more than 3 components" in message


def test_doubling_at_every_level_is_refused_before_it_is_built() -> None:
    levels = [
        definition(f"d{number}", use(f"d{number + 1}", "x"), use(f"d{number + 1}", "y"))
        for number in range(30)
    ]
    message = refusal_of(definition("", use("d0")), *levels, definition("d30"))
    assert f"more than {limits.COMPONENTS_MAX} components" in message


def test_components_are_nested_to_the_limit() -> None:
    def chain(length: int) -> list[Any]:
        inner = [definition(f"d{number}", use(f"d{number + 1}")) for number in range(1, length)]
        return [definition("", use("d1")), *inner, definition(f"d{length}")]

    assert (
        len(list(every_instance(tree_of(*chain(limits.COMPONENT_DEPTH_MAX)))))
        == limits.COMPONENT_DEPTH_MAX + 1
    )
    assert "nested deeper" in refusal_of(*chain(limits.COMPONENT_DEPTH_MAX + 1))


# --- environment variables --------------------------------------------------------------------------


def environment_of(app: dict[str, str], *chain: Instance) -> dict[str, str]:
    """What the last instance of the chain sees, as the catalog resolves it."""
    environment = app
    for instance in chain:
        bindings = [binding.to_fields() for binding in instance.environment]
        environment = bound_environment(bindings, environment)
    return environment


def test_variables_are_resolved_through_the_parents_up_to_the_app() -> None:
    root = tree_of(
        definition("", use("a", KEY="$APP_KEY", MODE="on", EXTRA="$MAYBE"), APP_KEY=STRING, MAYBE=[STRING]),
        definition(
            "a", use("b", INNER="$KEY", LEVEL="$MODE", LOST="$EXTRA"), KEY=STRING, MODE=ON, EXTRA=[STRING]
        ),
        definition("b", INNER=STRING, LEVEL=STRING, LOST=[STRING]),
    )
    child = root.children[0]
    grandchild = child.children[0]
    app = {"APP_KEY": "secret", "OTHER": "unseen"}
    assert environment_of(app, child) == {"KEY": "secret", "MODE": "on"}
    assert environment_of(app, child, grandchild) == {"INNER": "secret", "LEVEL": "on"}
    with_all = environment_of({**app, "MAYBE": "m"}, child, grandchild)
    assert with_all == {"INNER": "secret", "LEVEL": "on", "LOST": "m"}


@pytest.mark.parametrize(
    ("parent", "bound", "child", "text"),
    [
        ({}, {}, {"K": STRING}, "Component a is missing required env var K"),
        ({}, {"X": "v"}, {"K": [STRING]}, "Component a has no env var named X"),
        ({}, {"K": "off"}, {"K": ON}, "does not accept the value"),
        ({}, {"K": "$P"}, {"K": STRING}, "the parent declares no env var P"),
        ({"P": [STRING]}, {"K": "$P"}, {"K": STRING}, "P of the parent is optional"),
        ({"P": STRING}, {"K": "$P"}, {"K": ON}, "does not accept every value of P"),
    ],
)
def test_a_variable_that_does_not_fit_is_refused(parent: Any, bound: Any, child: Any, text: str) -> None:
    assert text in refusal_of(definition("", use("a", **bound), **parent), definition("a", **child))


def test_code_generation_asks_before_required_variables_are_bound() -> None:
    definitions = definition("", use("a")), definition("a", K=STRING)
    assert tree_of(*definitions, requires_variables=False).children[0].environment == ()


# --- HTTP -------------------------------------------------------------------------------------------


def test_prefixes_compose_through_mounted_parents_only() -> None:
    root = tree_of(
        definition("", use("a"), use("a", "aside"), mounts={"/x/": "a"}),
        definition("a", use("b"), use("b", "hidden"), mounts={"/y/z/": "b"}),
        definition("b"),
        routers="ab",
    )
    assert {each.path: each.http_prefix for each in every_instance(root)} == {
        "": None,
        "a": "/x/",
        "a/b": "/x/y/z/",
        "a/hidden": None,
        "aside": None,
        "aside/hidden": None,
        "aside/b": None,
    }


@pytest.mark.parametrize(
    ("mounts", "routers", "text"),
    [
        ({"/x/": "a"}, "", "HTTP mount /x/ is invalid: component a has no `http.js`"),
        ({"/x/": "c"}, "a", "there is no child component c"),
        ({"x/": "a"}, "a", "must start and end with a slash"),
        ({"/x": "a"}, "a", "must start and end with a slash"),
        ({"/x/": "a", "/y/": "a"}, "a", "component a is mounted at /x/"),
        ({"/x/y/": "a", "/x/": "b"}, "ab", "HTTP mount /x/y/ is invalid: it overlaps with the mount /x/"),
    ],
)
def test_a_mount_that_leads_nowhere_or_to_two_is_refused(mounts: Any, routers: str, text: str) -> None:
    app = definition("", use("a"), use("b"), mounts=mounts)
    assert text in refusal_of(app, definition("a"), definition("b"), routers=routers)


def test_mounts_whose_names_begin_alike_do_not_overlap() -> None:
    app = definition("", use("a"), use("b"), mounts={"/x/": "a", "/xy/": "b"})
    assert len(tree_of(app, definition("a"), definition("b"), routers="ab").children) == 2


# --- the answer -------------------------------------------------------------------------------------


def test_the_answer_shows_instances_routes_mounts_and_public_functions() -> None:
    public = {"name": "add", "visibility": {"kind": "public"}}
    internal = {"name": "sweep", "visibility": {"kind": "internal"}}
    definitions = {"": definition("", use("a", "counter"), mounts={"/x/": "counter"}), "a": definition("a")}
    analyses: Any = {
        "": {"m.js": {"functions": [public]}},
        "a": {**ROUTER, "lib.js": {"functions": [public, internal]}},
    }
    answer = checked_component(instance_tree(definitions, analyses), definitions, analyses)
    assert answer["exports"] == {} and answer["httpRoutes"] == {"httpModuleRoutes": None, "mounts": ["/x/"]}
    path = {"component": "counter", "udfPath": "lib.js:add"}
    assert answer["childComponents"]["counter"] == {
        "definitionPath": "a",
        "componentPath": "counter",
        "args": {},
        "childComponents": {},
        "httpRoutes": {"httpModuleRoutes": [{"path": "/hi", "method": "GET"}], "mounts": []},
        "exports": {
            "lib": {
                "type": "branch",
                "children": {"add": {"type": "leaf", "resource": {"type": "function", "path": path}}},
            }
        },
    }
