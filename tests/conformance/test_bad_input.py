"""Bad input gets its specified error and leaves no trace: the log does not grow, nobody dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ..support.server import RunningServer

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(autouse=True)
def no_trace(server: RunningServer) -> Iterator[None]:
    """Whatever the test sent, no record was written and no process was replaced."""
    seq = server.ask("core", "status")["seq"]
    pids = {role: server.pid_of(role) for role in server.actors()}
    yield None
    assert server.ask("core", "status")["seq"] == seq, "nothing was written"
    assert {role: server.pid_of(role) for role in server.actors()} == pids, "nobody died"
    counted = post(server, "query", {"path": "messages:count", "args": {"name": "nobody"}})
    assert counted.json() == {"status": "success", "value": 0.0}, "and calls are served"


def post(server: RunningServer, route: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    return httpx.post(f"{server.url}/api/{route}", content=content, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        ("mutation", b"{", 400, "BadJsonBody"),
        ("mutation", b"[1,2]", 400, "BadJsonBody"),
        ("mutation", b'{"path":"messages:send"}', 400, "BadJsonBody"),
        ("mutation", {"path": "a b:c", "args": {}}, 400, "BadConvexFunctionIdentifier"),
        ("mutation", {"path": "../x:y", "args": {}}, 400, "BadConvexFunctionIdentifier"),
        ("mutation", {"path": "messages:send", "args": {}, "format": "xml"}, 400, "BadFormat"),
        ("function", {"path": "messages:send", "args": {}}, 403, "BadDeployKey"),
        ("deploy2/start_push", {"adminKey": "tidelog|AAAA"}, 401, "BadAdminKey"),
        ("deploy2/finish_push", {"adminKey": "x"}, 401, "BadAdminKey"),
        ("update_environment_variables", {"changes": []}, 403, "BadDeployKey"),
    ],
)
def test_a_bad_request_has_its_status_and_code(
    server: RunningServer, route: str, body: Any, status: int, code: str
) -> None:
    answer = post(server, route, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    ("path", "args", "part"),
    [
        ("messages:nope", {}, "Could not find public function for 'messages:nope'"),
        ("messages:hidden", {}, "Could not find public function for 'messages:hidden'"),
        ("_system/cli/tables", {}, "Could not find public function"),
        ("messages:list", {"channel": "x"}, "as Mutation, but it is defined as Query."),
        ("messages:send", {"channel": "x"}, "ArgumentValidationError: Object is missing the required field"),
        ("messages:send", {"channel": "x", "body": 5}, "ArgumentValidationError: Value does not match"),
        ("messages:send", {"$bad": 1}, "Invalid arguments for messages.js:send: Field name $bad starts with"),
        (
            "messages:send",
            {"channel": {"$integer": "x"}, "body": ""},
            "Invalid arguments for messages.js:send",
        ),
        ("messages:remove", {"id": "nonsense"}, "ArgumentValidationError: Value does not match validator."),
        ("messages:send", [{}, {}], "Expected to receive a single object as the function's argument."),
    ],
)
def test_a_call_that_cannot_be_made_fails_with_its_text(
    server: RunningServer, path: str, args: Any, part: str
) -> None:
    answer = post(server, "mutation", {"path": path, "args": args})
    assert answer.status_code == 200 and answer.json()["status"] == "error", answer.text
    assert part in answer.json()["errorMessage"]


def test_arguments_over_the_limit_are_refused(server: RunningServer) -> None:
    large = post(server, "mutation", {"path": "messages:send", "args": {"body": "x" * (17 << 20)}})
    assert (large.status_code, large.json()["code"]) == (400, "BadJsonBody")
    document = post(
        server, "mutation", {"path": "messages:send", "args": {"channel": "x", "body": "x" * (1 << 20)}}
    )
    assert "Value is too large" in document.json()["errorMessage"]


def test_wrong_content_types_and_headers_are_refused(server: RunningServer) -> None:
    body = {"path": "messages:count", "args": {"name": "x"}}
    plain = post(server, "query", body, **{"content-type": "text/plain"})
    assert (plain.status_code, plain.json()["code"]) == (400, "BadJsonBody")
    for header, code in (("x", "InvalidHeaderFailure"), ("Basic abcdef", "InvalidAdminKey")):
        refused = post(server, "query", body, authorization=header)
        assert (refused.status_code, refused.json()["code"]) == (400, code)
    token = post(server, "query", body, authorization="Bearer nonsense")
    assert (token.status_code, token.json()["code"]) == (401, "InvalidAuthHeader")
    old = post(server, "query", body, **{"convex-client": "npm-0.19.0"})
    assert (old.status_code, old.json()["code"]) == (400, "ClientVersionUnsupported")
    bomb = post(server, "deploy2/start_push", b"\x00" * 100, **{"content-encoding": "br"})
    assert bomb.status_code in (400, 401, 403), bomb.text


CONNECT = {
    "type": "Connect",
    "sessionId": "11111111-2222-4333-8444-555555555555",
    "connectionCount": 0,
    "lastCloseReason": "InitialConnect",
}
ADD = {"type": "Add", "queryId": 0, "udfPath": "messages:list", "args": [{"channel": "x"}]}


def modify(base: int, new: int, *modifications: dict) -> dict:
    return {
        "type": "ModifyQuerySet",
        "baseVersion": base,
        "newVersion": new,
        "modifications": list(modifications),
    }


@pytest.mark.parametrize(
    ("frames", "fatal", "code"),
    [
        (["{"], "Received Invalid JSON on websocket: ", None),
        ([{"type": "Subscribe"}], "Received Invalid JSON on websocket: ", None),
        ([{**CONNECT, "sessionId": "not-a-uuid"}], "Received Invalid JSON on websocket: ", None),
        ([CONNECT, modify(3, 4)], "Base version 3 passed up doesn't match the current version 0", None),
        ([CONNECT, modify(0, 1, {"type": "Remove", "queryId": 9})], None, 1011),
        ([CONNECT, modify(0, 1, ADD, ADD)], None, 1011),
        ([{**CONNECT, "maxObservedTimestamp": "/////////38="}], None, 1011),
        ([b"binary"], None, 1011),
    ],
)
def test_a_malformed_conversation_ends_as_specified(
    server: RunningServer, frames: list, fatal: str | None, code: int | None
) -> None:
    async def converse() -> tuple[list[dict], int | None]:
        received = []
        address = server.url.replace("http", "ws") + "/api/1.48.0/sync"
        async with connect(address) as socket:
            for frame in frames:
                await socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))
            try:
                while True:
                    received.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
            except ConnectionClosed as closed:
                return received, closed.rcvd.code if closed.rcvd else None

    received, closed_with = asyncio.run(converse())
    if fatal is not None:
        assert received[-1]["type"] == "FatalError" and received[-1]["error"].startswith(fatal)
        assert closed_with in (None, 1005)
    else:
        assert all(message["type"] != "FatalError" for message in received) and closed_with == code


@pytest.mark.parametrize(
    ("route", "function", "args"),
    [
        ("query", "cli/tables", ["x"]),
        ("query", "cli/tableSize", {"tableName": 5}),
        ("query", "frontend/paginatedTableDocuments", {"table": "messages", "paginationOpts": "x"}),
        (
            "query",
            "frontend/paginatedTableDocuments",
            {"table": "messages", "paginationOpts": {"numItems": {"$float": "AAAAAAAA8H8="}, "cursor": None}},
        ),
        (
            "query",
            "frontend/paginatedTableDocuments",
            {"table": "messages", "paginationOpts": {"numItems": 5, "cursor": 5}},
        ),
        ("query", "frontend/fileStorageV2:fileMetadata", {"paginationOpts": 5, "filters": "x"}),
        ("mutation", "frontend/deleteDocuments", {"toDelete": ["x"]}),
        ("mutation", "frontend/addDocument", {"table": "messages", "documents": [1]}),
        ("mutation", "frontend/patchDocumentsFields", {"table": "messages", "ids": [[]], "fields": {"a": 1}}),
        (
            "mutation",
            "frontend/addDocument",
            {"table": "messages", "documents": [{}], "componentId": "j57d1b1bnq0q7n4sv4tybkm7v97x2xh3"},
        ),
    ],
)
def test_what_an_operator_sends_amiss_is_their_error(
    server: RunningServer, route: str, function: str, args: Any
) -> None:
    path = f"_system/{function}" if ":" in function else f"_system/{function}:default"
    key = f"Convex {server.admin_key()}"
    answer = post(server, route, {"path": path, "args": args}, authorization=key)
    said = answer.json()
    assert (answer.status_code, said["status"]) == (200, "error"), answer.text
    assert "Uncaught Error: " in said["errorMessage"] or "Expected to receive" in said["errorMessage"], said


def test_an_export_has_no_endless_number(server: RunningServer) -> None:
    address = f"{server.url}/api/export/zip/{'1' * 5_000}"
    answer = httpx.get(address, headers={"authorization": f"Convex {server.admin_key()}"}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "BadSnapshotId"), answer.text


@pytest.mark.parametrize("path", ["_system/nosuch:default", "_system/cli/tables:default"])
def test_a_system_function_is_refused_on_a_socket_to_whoever_is_no_admin(
    server: RunningServer, path: str
) -> None:
    async def converse() -> dict[str, Any]:
        async with connect(server.url.replace("http", "ws") + "/api/1.48.0/sync") as socket:
            for frame in (CONNECT, modify(0, 1, {**ADD, "udfPath": path})):
                await socket.send(json.dumps(frame))
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 20))
                if message.get("modifications"):
                    return message["modifications"][0]

    refused = asyncio.run(converse())
    assert refused["type"] == "QueryFailed", refused
    assert "Could not find public function" in refused["errorMessage"]
