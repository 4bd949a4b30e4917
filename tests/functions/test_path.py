"""Function paths: what clients send, what is stored, what is shown (spec 03 1.5, spec 01 3.8)."""

from __future__ import annotations

import pytest

from functions.path import FunctionPath, parse_function_path, parse_module_path
from log.errors import BackendError


@pytest.mark.parametrize(
    ("text", "canonical", "display"),
    [
        ("messages", "messages.js:default", "messages"),
        ("messages.js", "messages.js:default", "messages"),
        ("messages:send", "messages.js:send", "messages:send"),
        ("dir/mod.js:fn", "dir/mod.js:fn", "dir/mod:fn"),
        ("a/b/mod:default", "a/b/mod.js:default", "a/b/mod"),
        ("auth.config.js", "auth.config.js:default", "auth.config"),
        ("_deps/X1.js:f", "_deps/X1.js:f", "_deps/X1:f"),
        ("_system/cli/tables:list", "_system/cli/tables.js:list", "_system/cli/tables:list"),
        ("a" * 64 + ":" + "f" * 64, "a" * 64 + ".js:" + "f" * 64, "a" * 64 + ":" + "f" * 64),
    ],
)
def test_a_path_has_one_canonical_and_one_displayed_form(text: str, canonical: str, display: str) -> None:
    path = parse_function_path(text)
    assert (path.canonical, path.display) == (canonical, display)
    assert parse_function_path(canonical) == path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must not be empty"),
        (":f", "must not be empty"),
        ("/a:f", "must be relative"),
        ("x.ts:f", "Module path (x.ts) has an extension that isn't 'js'."),
        ("auth.config", "Module path (auth.config) has an extension that isn't 'js'."),
        ("../a:f", "Path component (..)"),
        ("a//b:f", "Path component ()"),
        ("a b:f", "Path component (a b)"),
        ("a:b:c", "Path component (a:b)"),
        ("é:f", "Path component (é)"),
        ("_/a:f", "Path component (_)"),
        ("a" * 65 + ":f", "longer than the maximum of 64"),
        ("a:", "Function name ()"),
        ("a:1f", "Function name (1f)"),
        ("a:__", "Function name (__)"),
        ("a:" + "f" * 65, "Function name"),
    ],
)
def test_a_text_that_is_no_path_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(BackendError) as refused:
        parse_function_path(text)
    assert refused.value.code == "BadConvexFunctionIdentifier"
    assert refused.value.message.startswith(f"{text} is not a valid path to a Convex function. ")
    assert reason in refused.value.message


def test_what_is_displayed_can_be_typed_again_unless_the_module_has_a_second_dot() -> None:
    for text in ("messages", "a/b:c", "_deps/X1:f"):
        assert parse_function_path(parse_function_path(text).display) == parse_function_path(text)
    assert parse_function_path("auth.config.js").display == "auth.config"


def test_system_functions_are_told_by_their_folder() -> None:
    assert parse_function_path("_system/frontend/x:y").is_system
    assert not parse_function_path("system/x:y").is_system


def test_a_module_path_is_made_canonical_by_the_same_rules() -> None:
    assert parse_module_path("a/b") == parse_module_path("a/b.js") == "a/b.js"
    with pytest.raises(BackendError):
        parse_module_path("a/b:f")


def test_equal_paths_are_equal_keys() -> None:
    assert {FunctionPath("a.js", "f"), parse_function_path("a:f")} == {parse_function_path("a.js:f")}
