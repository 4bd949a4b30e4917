"""What a system function is: Python code over a Transaction (design D13).

Push, environment, the `_system/...` queries of CLI and dashboard: all are values of the types below, so
they get read sets, live updates, conflict checks and replay for nothing. The executor runs them
(actors/system_calls.py): `prepare` once, then `run` in a transaction, again after a conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functions.catalog import CLOUD_URL, SITE_URL, Catalog
from functions.components import Component
from functions.isolate import Engine
from functions.node_packages import NodePackage
from functions.pages import CursorCodec
from functions.system.files import FileAccess
from functions.system.node_analysis import NodeAnalyser
from functions.transaction import Transaction
from log.errors import bad_json_body, bad_request

Evaluation = Callable[[], Any]
"""Slow work of a push, or of a change of the environment, that needs no transaction."""

Args = dict[str, Any]
"""The argument of a `_system/...` function: Convex values by name."""


def argument(args: Args, name: str, kind: type) -> Any:
    found = args.get(name) if isinstance(args, dict) else None
    if not isinstance(found, kind):
        raise bad_request("InvalidArgument", f"Missing or invalid argument `{name}`.")
    return found


@dataclass(frozen=True, slots=True)
class SystemContext:
    """What a system function may use beside its transaction."""

    engine: Engine
    instance_name: str
    cloud_origin: str
    site_origin: str
    now_ns: int
    random_bytes: Callable[[int], bytes]
    codec: CursorCodec
    node: NodeAnalyser | None = None
    files: FileAccess | None = None

    @property
    def system_environment(self) -> dict[str, str]:
        """Built-in variables as the operator configured them (spec 03 5.8)."""
        return {CLOUD_URL: self.cloud_origin, SITE_URL: self.site_origin}

    def variables_of(self, catalog: Catalog) -> dict[str, str]:
        """Every variable that functions of the app see."""
        return {**catalog.built_in_variables(self.system_environment), **catalog.environment}


def enter_asked_component(transaction: Transaction, path: str, args: Args) -> None:
    """The CLI names a component by path, beside the arguments; the dashboard by id, in them."""
    if not isinstance(args, dict):
        raise bad_request("InvalidArgument", "The argument of a system function is an object.")
    component_id = args.get("componentId")
    if component_id:
        enter_component_of_id(transaction, argument(args, "componentId", str))
    else:
        transaction.enter_component(path)


def component_of_id(transaction: Transaction, component_id: str) -> Component:
    """The component of this id, "" is the app."""
    component = transaction.component_of(component_id or None)
    if component is None:
        raise bad_request("ComponentNotFound", f"There is no component with the id '{component_id}'.")
    return component


def enter_component_of_id(transaction: Transaction, component_id: str) -> str:
    """Go into the component of this id, "" is the app; returns its path."""
    component = component_of_id(transaction, component_id)
    transaction.enter_component(component.path)
    return component.path


def key_in_next(place: Any) -> bytes | None:
    """The key behind which a step goes on, by what the step before answered; None: it is the first."""
    if place is None:
        return None
    try:
        return bytes.fromhex(place["afterKey"])
    except (KeyError, TypeError, ValueError):
        raise bad_json_body("`next` is what the step before answered") from None


@dataclass(frozen=True, slots=True)
class SystemFunction:
    """A `_system/...` function a client may call: Convex values in, a Convex value out."""

    udf_type: str  # "Query" | "Mutation"
    run: Callable[[Transaction, dict[str, Any], SystemContext], Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """An HTTP operation of CLI or operator: JSON in, JSON out.

    `prepare` sees a read-only transaction and returns the slow work (analysis), which sees none: it runs on
    a thread, beside the calls. What that comes to is passed to `run`, which must check in its own transaction
    whatever was relied on. `run` decides everything that is written; a raised BackendError writes nothing.
    Before all, `packages` of the body are installed.

    With `reads_at` it only reads: at the ts that this names, or at the newest (None). When that ts is no
    longer kept, `run` is given the newest instead, and knows what to leave out.
    """

    run: Callable[[Transaction, dict[str, Any], Any, SystemContext], Any]
    prepare: Callable[[Transaction, dict[str, Any], SystemContext], Evaluation] | None = None
    packages: Callable[[dict[str, Any]], tuple[NodePackage, ...]] | None = None
    reads_at: Callable[[dict[str, Any], SystemContext], int | None] | None = None
