"""The Node modules of a catalog, and the packages they import: what tells one set from another. Pure.

A Node process has evaluated one bundle under one environment and serves no other: `key` says which.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from functions.catalog import Catalog
from functions.images import read_module
from functions.node_packages import NodePackage, packages_of, packages_tree
from functions.snapshot import SnapshotReader
from log.invariant import invariant

NODE_PACKAGES = "nodePackages"
"""The field of `_udf_config` that lists the packages of the active code; ours."""


@dataclass(frozen=True, slots=True)
class NodeBundle:
    """`code_key` names the module texts with their packages, `key` these under their environment."""

    code_key: str
    key: str
    modules: tuple[tuple[str, str], ...]  # (path, sha256), by path
    environment: dict[str, str]
    packages: tuple[NodePackage, ...] = ()

    def sources(self, snapshot: SnapshotReader) -> dict[str, str]:
        """The text of each module by its path."""
        found = {}
        for path, sha256 in self.modules:
            text = read_module(snapshot, sha256)
            invariant(text is not None, "a module row has its text", path=path)
            assert text is not None  # for the type checker
            found[path] = text.source
        return found


def node_bundle(catalog: Catalog, system_environment: dict[str, str]) -> NodeBundle:
    """What a process must have loaded to run the catalog's Node actions."""
    modules = tuple(
        sorted((module.path, module.sha256) for module in catalog.modules.values() if module.is_node)
    )
    environment = {**catalog.built_in_variables(system_environment), **catalog.environment}
    packages = packages_of((catalog.udf_config or {}).get(NODE_PACKAGES, []))
    code_key = _digest([modules, packages_tree(packages)])
    key = _digest([code_key, sorted(environment.items())])
    return NodeBundle(code_key, key, modules, environment, packages)


def _digest(facts: object) -> str:
    return hashlib.sha256(orjson.dumps(facts)).hexdigest()[:32]
