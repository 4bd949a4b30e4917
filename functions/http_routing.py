"""Which component answers a request from outside, and under which path it sees it (spec 03 5.4). Pure.

Routes are those that analysis found in each `http.js`. A mount hands what is below its prefix to a child,
which sees the path without it. The app may have a prefix of its own, which its router does not see either.
"""

from __future__ import annotations

from dataclasses import dataclass

from functions.catalog import Catalog
from functions.components import child_path

HTTP_MODULE = "http.js"


@dataclass(frozen=True, slots=True)
class Routed:
    """`catalog` is that of the component whose router is asked for `path`."""

    catalog: Catalog
    path: str


def route(catalog: Catalog, method: str, path: str) -> Routed | None:
    """From this component downwards; None when nobody answers requests there."""
    asked = "GET" if method == "HEAD" else method
    own = {route_path for route_path, its_method in _routes_of(catalog) if its_method == asked}
    own_prefix = catalog.component.own_prefix
    own_path = path[len(own_prefix) - 1 :] if path.startswith(own_prefix) else ""
    if own_path in own:
        return Routed(catalog, own_path)
    prefixes = [each[:-1] for each in own if each.endswith("*") and own_path.startswith(each[:-1])]
    mount = max((each for each in catalog.component.mounts if path.startswith(each)), key=len, default="")
    if mount and len(mount) >= max((len(own_prefix) - 1 + len(each) for each in prefixes), default=0):
        child = catalog.of_component(child_path(catalog.component.path, catalog.component.mounts[mount]))
        return route(child, method, path[len(mount) - 1 :]) if child is not None else None
    return Routed(catalog, own_path) if HTTP_MODULE in catalog.modules else None


def _routes_of(catalog: Catalog) -> list[tuple[str, str]]:
    """(path, method) of the component's own routes."""
    module = catalog.modules.get(HTTP_MODULE)
    found = (module.analysis.get("httpRoutes") or ()) if module is not None else ()
    return [(each["route"]["path"], each["route"]["method"]) for each in found]
