"""The dashboard's functions on a real server, called as it calls them (spec 02 21; section 28, row 32)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from ..support.app_calls import call
from ..support.server import RunningServer
from .test_admin_keys import new_key, refusal
from .test_bad_input import CONNECT

pytestmark = pytest.mark.usefixtures("app")

FOLDER = "_system/frontend"


def test_a_table_is_edited_while_its_filtered_page_is_watched(server: RunningServer) -> None:
    seen = dict(server.node(Path(__file__).parent / "dashboard.mjs", server.admin_key()))
    assert "does not match the schema" in seen.pop("refused")
    done = {"success": True}
    assert seen == {
        "empty": 0,
        "added": done,
        "shown": [2, 3],
        "patched": done,
        "left": [3],
        "replaced": done,
        "back": [7, 3],
        "deleted": done,
        "one": [7],
        "cleared": {"deleted": 2, "hasMore": False, "continueCursor": ""},
        "none": 0,
        "file": "from the dashboard",
        "gone": None,
    }


def test_an_edit_sent_again_on_another_socket_is_made_once(server: RunningServer) -> None:
    key = server.admin_key()
    call(server, "mutation", f"{FOLDER}/createTable:default", {"table": "resent"}, key=key)
    edit = {
        "type": "Mutation",
        "requestId": 0,
        "udfPath": f"{FOLDER}/addDocument:default",
        "args": [{"table": "resent", "documents": [{"n": 1}]}],
    }

    async def send(count: int) -> dict[str, object]:
        async with connect(server.url.replace("http", "ws") + "/api/1.48.0/sync") as socket:
            await socket.send(json.dumps({**CONNECT, "connectionCount": count}))
            await socket.send(
                json.dumps({"type": "Authenticate", "tokenType": "Admin", "value": key, "baseVersion": 0})
            )
            await socket.send(json.dumps(edit))
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 20))
                if message["type"] == "MutationResponse":
                    return {name: message[name] for name in ("success", "result", "ts")}

    first = asyncio.run(send(0))
    assert first["success"] and first["result"] == {"success": True}
    assert asyncio.run(send(1)) == first
    page = {"table": "resent", "paginationOpts": {"numItems": 10, "cursor": None}}
    shown: Any = call(server, "query", f"{FOLDER}/paginatedTableDocuments:default", page, key=key)
    assert len(shown["page"]) == 1


def test_the_history_names_a_deploy_with_its_message(server: RunningServer, app: Path) -> None:
    key = server.admin_key()
    deployed = server.cli(app, "deploy", "-y", "--typecheck", "disable", "--message", "in the history")
    assert deployed.returncode == 0, deployed.stdout
    last = call(server, "query", f"{FOLDER}/deploymentEvents:lastPushEvent", {}, key=key)
    assert last["metadata"]["message"] == "in the history"
    options = {"numItems": 1, "cursor": None}
    args = {"paginationOpts": options, "filters": {"actions": [last["action"]]}}
    shown = call(server, "query", f"{FOLDER}/paginatedDeploymentEvents:default", args, key=key)
    assert shown["page"] == [last]


def test_tables_are_deleted_and_their_shapes_told(server: RunningServer) -> None:
    key = server.admin_key()
    headers = {"Authorization": f"Convex {key}"}
    call(server, "mutation", f"{FOLDER}/createTable:default", {"table": "passing"}, key=key)
    shapes = httpx.get(f"{server.url}/api/shapes2", headers=headers).json()
    assert shapes["passing"] == {"type": "Never"}
    for names, status in ((["messages"], 400), (["passing"], 200)):
        body = {"tableNames": names, "componentId": None}
        assert httpx.post(f"{server.url}/api/delete_tables", json=body, headers=headers).status_code == status
    mapping = call(server, "query", f"{FOLDER}/getTableMapping:default", {}, key=key)
    assert isinstance(mapping, dict) and "passing" not in mapping.values()


def test_a_read_only_key_edits_nothing(server: RunningServer) -> None:
    body = {"path": f"{FOLDER}/createTable:default", "args": {"table": "forbidden"}}
    assert refusal(server, "mutation", body, new_key(server, "--read-only")) == (403, "OperationNotPermitted")
