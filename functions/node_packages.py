"""npm packages that Node modules import and the CLI left out: `node.externalPackages` (spec 02 6). Pure.

A list of them is checked at the push, kept with the active code, and names what an executor has installed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from log.limits import NODE_PACKAGE_TEXT_CHARACTERS_MAX, NODE_PACKAGES_MAX

_NAME = re.compile(r"(@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
"""One version of the registry. What else npm would take for one names files, addresses or other packages."""


@dataclass(frozen=True, slots=True, order=True)
class NodePackage:
    """One package, exactly."""

    name: str
    version: str

    @property
    def text(self) -> str:
        return f"{self.name}@{self.version}"


def packages_of(tree: Any) -> tuple[NodePackage, ...]:
    """By name; ValueError says what is wrong with the list."""
    if not isinstance(tree, list):
        raise ValueError("it is no list")
    if len(tree) > NODE_PACKAGES_MAX:
        raise ValueError(f"there are more than {NODE_PACKAGES_MAX} packages")
    found = tuple(sorted(_package_of(each) for each in tree))
    names = [package.name for package in found]
    if len(set(names)) < len(names):
        raise ValueError("a package is there twice")
    return found


def _package_of(tree: Any) -> NodePackage:
    match tree:
        case {"name": str(name), "version": str(version)} if _is_named(name, version):
            return NodePackage(name, version)
    raise ValueError(f"{tree!r:.300} is no package of the registry in one version")


def _is_named(name: str, version: str) -> bool:
    is_short = max(len(name), len(version)) <= NODE_PACKAGE_TEXT_CHARACTERS_MAX
    return is_short and bool(_NAME.fullmatch(name) and _VERSION.fullmatch(version))


def packages_tree(packages: Iterable[NodePackage]) -> list[dict[str, str]]:
    """What `packages_of` reads."""
    return [{"name": package.name, "version": package.version} for package in packages]


def packages_key(packages: Iterable[NodePackage]) -> str:
    """What tells one list from another; also the name of a folder."""
    return hashlib.sha256(orjson.dumps(packages_tree(packages))).hexdigest()[:32]
