"""Small modules and helpers the push tests share."""

from __future__ import annotations

from typing import Any

import pytest

from log.errors import BackendError

from ...support.deployment import Deployment, functions_module, module, push_body

MESSAGES = functions_module(
    "messages.js",
    """
export const list = query('{"type":"object","value":{}}', '{"type":"string"}');
export const send = mutation();
export const sweep = internalAction();
export const helper = () => 1;
export const constant = 7;
""",
)
OTHER = functions_module("other.js", "export const f = query();")
HTTP = module(
    "http.js",
    'export default { isRouter: true, getRoutes: () => [["/hi", "GET", {}], ["/files/*", "POST", {}]] };',
)
AUTH = module(
    "auth.config.js",
    'export default { providers: [{ domain: process.env.ISSUER, applicationID: "convex" }] };',
)
PUSHING = "Hit an error while pushing:\n"


def refusal_of(deployment: Deployment, name: str, body: Any) -> BackendError:
    """The refusal of an operation, which must not have written anything."""
    before = deployment.database.committer.published_ts
    with pytest.raises(BackendError) as raised:
        deployment.operate(name, body)
    assert deployment.database.committer.published_ts == before
    return raised.value


def start_refusal(deployment: Deployment, *modules: Any, **rest: Any) -> BackendError:
    return refusal_of(deployment, "start_push", push_body(*modules, **rest))


def stored_hashes(deployment: Deployment) -> set[str]:
    return {row["sha256"] for row in deployment.database.documents("_module_sources")}
