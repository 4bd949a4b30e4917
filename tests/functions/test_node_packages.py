"""Which packages a push may have installed: exact versions of a registry, and nothing else npm would take."""

from __future__ import annotations

from typing import Any

import pytest

from functions.node_packages import NodePackage, packages_key, packages_of, packages_tree
from log.limits import NODE_PACKAGE_TEXT_CHARACTERS_MAX, NODE_PACKAGES_MAX


def entry(name: Any = "sharp", version: Any = "0.33.0") -> dict[str, Any]:
    return {"name": name, "version": version}


def test_a_list_is_read_in_the_order_of_names_and_written_as_it_is_read() -> None:
    found = packages_of([entry("sharp"), entry("@aws-sdk/client-s3", "3.1.0-beta.1"), entry("JSONStream")])
    assert found == (
        NodePackage("@aws-sdk/client-s3", "3.1.0-beta.1"),
        NodePackage("JSONStream", "0.33.0"),
        NodePackage("sharp", "0.33.0"),
    )
    assert packages_of(packages_tree(found)) == found


def test_the_order_of_a_list_does_not_change_its_key_and_a_version_does() -> None:
    keys = [
        packages_key(packages_of(tree))
        for tree in ([entry("a"), entry("b")], [entry("b"), entry("a")], [entry("a"), entry("b", "0.33.1")])
    ]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "tree",
    [
        7,
        ["sharp"],
        [{}],
        [entry(version=7)],
        [entry(name="")],
        [entry(name="../sharp")],
        [entry(name="a/b")],
        [entry(name="@a")],
        [entry(name="-g --prefix=/")],
        [entry(name=".bin")],
        [entry(name="a" * (NODE_PACKAGE_TEXT_CHARACTERS_MAX + 1))],
        [entry(version="latest")],
        [entry(version="^1.0.0")],
        [entry(version="1.0")],
        [entry(version="1.0.0\n")],
        [entry(version="file:../x")],
        [entry(version="npm:other@1.0.0")],
        [entry(version="git+ssh://host/x.git")],
        [entry(version="https://host/x.tgz")],
        [entry(), entry()],
        [entry(name=f"a{number}") for number in range(NODE_PACKAGES_MAX + 1)],
    ],
)
def test_what_is_no_exact_version_of_a_registry_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match=r"package|list"):
        packages_of(tree)


def test_names_and_lists_at_their_limits_are_read() -> None:
    longest = "a" * NODE_PACKAGE_TEXT_CHARACTERS_MAX
    assert packages_of([entry(longest)])[0].name == longest
    assert len(packages_of([entry(f"a{number}") for number in range(NODE_PACKAGES_MAX)])) == NODE_PACKAGES_MAX
