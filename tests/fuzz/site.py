"""A whole deployment in this process, behind the application of its API port: log, view, engine, blobs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import orjson

import gateway.routes.deploy
import gateway.routes.logs
from gateway.app import build_app, ordinary_routes
from gateway.backend import GatewaySettings
from gateway.core import GatewayCore
from gateway.hot_routes import _FUNCTION_METHODS, HotRoutes
from gateway.routes.data import _ROUTES
from log import limits
from log.blob_store import LocalBlobStore
from log.errors import BackendError
from log.secrets import issue_admin_key, issue_upload_token

from ..support.deployment import push_body
from ..support.recorded import SHOP, RecordedServer, module
from .requests import FuzzRequest, Known, Route

ANSWER_SECONDS_MAX = 30
_MOMENT = '{"secs_since_epoch":1,"nanos_since_epoch":0}'
_WINDOW = f'{{"start":{_MOMENT},"end":{_MOMENT},"num_buckets":4}}'


@dataclass(frozen=True, slots=True)
class Answered:
    """None: nothing was answered in time, or the application raised."""

    status: int | None
    headers: dict[bytes, bytes]
    body: bytes
    failure: str = ""


class FuzzSite(RecordedServer):
    """Enter it; `send` is what a socket would do. `defects` stays empty."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.blobs = LocalBlobStore(folder / "files")
        self.settings = replace(self.settings, blobs=self.blobs)
        self.defects: list[BaseException] = []

    async def __aenter__(self) -> FuzzSite:
        self._patience = contextlib.ExitStack()  # nobody waits for long here
        self._patience.enter_context(patch.object(gateway.routes.logs, "FUNCTION_LOG_POLL_SECONDS_MAX", 0.01))
        self._patience.enter_context(patch.object(gateway.routes.deploy, "SCHEMA_POLL_MS_MAX", 10))
        await super().__aenter__()
        await self.push()
        known = self.credentials
        settings = GatewaySettings(known.instance_name, known.instance_secret, server_version="fuzzed")
        self.core = GatewayCore(self._runtime.backend, settings, self.defects.append)
        self.core.start()
        self.app = build_app(self.core, self.blobs)
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.core.stop()
        self._patience.close()
        await super().__aexit__(*failure)

    async def send(self, request: FuzzRequest) -> Answered:
        path, _, query = request.target.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(path, errors="replace"),
            "raw_path": path.encode("latin-1", "replace"),
            "root_path": "",
            "query_string": query.encode("latin-1", "replace"),
            "headers": [
                (name.encode(), value.encode("latin-1", "replace")) for name, value in request.headers
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "asgi": {"version": "3.0"},
            "extensions": {},
        }
        return await _ask(self.app, scope, request.body)

    async def heal(self) -> None:
        """Let functions run and be there, whatever requests have done to them."""
        try:
            await self.operate("unpause_deployment", {})
        except BackendError:
            pass  # it is not paused
        await self.push()

    async def works(self) -> bool:
        """A mutation counts, and a query sees it."""
        await self.heal()
        name = {"name": f"alive {time.monotonic_ns()}"}
        counted = await self.mutate("increment", name)
        seen = await self.query("count", name)
        return counted.error is None and seen.value is not None and float(seen.value) == 1


async def _ask(app: HotRoutes, scope: dict[str, Any], body: bytes) -> Answered:
    status: int | None = None
    headers: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    inbox = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await asyncio.sleep(3_600)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update(message.get("headers", ()))
        else:
            pieces.append(message.get("body", b""))

    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await app(scope, receive, send)
    except TimeoutError:
        return Answered(None, headers, b"", "no answer in time")
    except Exception as failure:
        return Answered(None, headers, b"", repr(failure))
    return Answered(status, headers, b"".join(pieces))


# --- what can be asked ------------------------------------------------------------------------------


def routes_of(core: GatewayCore) -> list[Route]:
    """Every route of the application, so that a new one is fuzzed without anybody's thinking of it."""
    found = [*_FUNCTION_METHODS, ("GET", "/version"), ("GET", "/http/*"), ("POST", "/http/*")]
    found += [("POST", "/api/storage/upload"), ("GET", "/api/storage/*"), ("HEAD", "/api/storage/*")]
    return sorted({*found, *_ROUTES, *_ordinary(core)})


def _ordinary(core: GatewayCore) -> Iterator[Route]:
    for rule in ordinary_routes(core).url_map.iter_rules():
        path = re.sub(r"<[^>]*>", "*", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, path


@dataclass(frozen=True, slots=True)
class _Things:
    """What there is on the site just now, for requests to name."""

    started_push: Any
    upload_token: str
    part_token: str
    import_id: str
    export_id: str
    document_id: str
    storage_uuid: str
    ts: int
    snapshot_cursor: str


async def _things_of(site: FuzzSite, admin: str) -> _Things:
    async def ask(method: str, target: str, body: bytes = b"") -> Any:
        headers = (("authorization", f"Convex {admin}"), ("content-type", "application/json"))
        answered = await site.send(FuzzRequest(method, target, headers, body))
        return orjson.loads(answered.body) if answered.body.startswith((b"{", b'"', b"[")) else None

    started = await site.operate("start_push", push_body(module("shop.js", SHOP)))
    token = (await ask("POST", "/api/import/start_upload"))["uploadToken"]
    part = await ask("POST", f"/api/import/upload_part?uploadToken={token}&partNumber=1", b'{"n":1}\n')
    asked = {"tableName": "imported", "mode": "append", "format": "jsonLines"}
    finish = {"import": asked, "uploadToken": token, "partTokens": [part]}
    imported = await ask("POST", "/api/import/finish_upload", orjson.dumps(finish))
    await ask("POST", "/api/export/request/zip?includeStorage=true")
    latest = await ask("POST", "/api/query", b'{"path":"_system/cli/exports:getLatest","args":{}}')
    upload = issue_upload_token(site.credentials.instance_secret, 1 << 40)
    stored = await ask("POST", f"/api/storage/upload?token={upload}", b"bytes")
    file = {"path": "_system/frontend/fileStorageV2:getFile", "args": {"storageId": stored["storageId"]}}
    shown = await ask("POST", "/api/query", orjson.dumps(file))
    note = await site.mutate("note", {"name": "a", "text": "b"})
    await site.mutate("note", {"name": "a", "text": "c"})
    with patch.object(limits, "STREAM_PAGE_ROWS_MAX", 1):
        page = await ask("GET", "/api/list_snapshot?component=")
    return _Things(
        started_push=started,
        upload_token=token,
        part_token=part,
        import_id=imported["importId"],
        export_id=(latest["value"] or {"_id": "none"})["_id"],
        document_id=orjson.loads(note.value or b'""') or "none",
        storage_uuid=shown["value"]["url"].rpartition("/")[2],
        ts=page["snapshot"],
        snapshot_cursor=page["cursor"] or "none",
    )


async def known_of(site: FuzzSite) -> Known:
    """Bodies and parameters that each route takes."""
    name, secret = site.credentials.instance_name, site.credentials.instance_secret
    call = {"path": "shop:count", "args": {"name": "a"}, "format": "json"}
    push = push_body(module("shop.js", SHOP))
    key, reader = (issue_admin_key(secret, name, 1, read_only=read_only) for read_only in (False, True))
    things = await _things_of(site, key)
    bodies: dict[str, Any] = {
        "/api/query": call,
        "/api/mutation": {**call, "path": "shop:increment"},
        "/api/action": {**call, "path": "shop:act"},
        "/api/function": call,
        "/api/run/*": {"args": {"name": "a"}, "format": "json"},
        "/api/query_at_ts": {**call, "ts": "AAAAAAAAAAA="},
        "/api/query_batch": {"queries": [call, {**call, "path": "shop:notes"}]},
        "/api/get_config_hashes": {"version": "1.48.0"},
        "/api/deploy2/evaluate_schema": push,
        "/api/deploy2/evaluate_push": push,
        "/api/deploy2/start_push": push,
        "/api/deploy2/wait_for_schema": {
            "schemaChange": things.started_push["schemaChange"],
            "timeoutMs": 5,
            "dryRun": False,
        },
        "/api/deploy2/finish_push": {"startPush": things.started_push, "dryRun": False, "message": None},
        "/api/deploy2/report_push_completed": {"spans": []},
        "/api/update_environment_variables": {"changes": [{"name": "A", "value": "b"}]},
        "/api/v1/update_environment_variables": {"changes": [{"name": "A", "value": None}]},
        "/api/update_canonical_url": {"requestDestination": "convexCloud", "url": "http://127.0.0.1:1"},
        "/api/v1/update_canonical_url": {"requestDestination": "convexSite", "url": None},
        "/api/cancel_job": {"id": "k" * 32, "componentId": None},
        "/api/cancel_all_jobs": {"udfPath": "shop:increment", "startNextTs": 1, "endNextTs": "5"},
        "/api/delete_tables": {"tableNames": ["notes", "other"], "componentId": None},
        "/api/delete_component": {"componentId": "k" * 32},
        "/api/delete_scheduled_functions_table": {"componentId": None},
        "/api/run_test_function": {
            "args": {},
            "bundle": {"path": "testQuery.js", "source": "export default 5"},
            "format": "json",
            "componentId": None,
        },
        "/api/import/finish_upload": {
            "import": {"tableName": "imported", "mode": "replace", "format": "jsonLines"},
            "uploadToken": things.upload_token,
            "partTokens": [things.part_token],
        },
        "/api/perform_import": {"importId": things.import_id},
        "/api/cancel_import": {"importId": things.import_id},
        "/api/export/set_expiration/*": {"expirationTsNs": 5},
        "/api/list_snapshot": {"snapshot": things.ts, "tableName": "notes", "component": ""},
        "/api/document_deltas": {"cursor": things.ts, "format": "json", "selection": None},
        "/api/json_schemas": {"deltaSchema": True, "byComponent": True, "format": "export_json"},
    }
    parameters = {
        "/api/query": {"path": "shop:count", "args": '{"name":"a"}', "format": "json"},
        "/api/storage/upload": {"token": issue_upload_token(secret, 1 << 40)},
        "/api/stream_function_logs": {"cursor": "0", "sessionId": "s", "clientRequestCounter": "1"},
        "/api/app_metrics/stream_function_logs": {"cursor": "1"},
        "/api/import/upload_part": {"uploadToken": things.upload_token, "partNumber": "1"},
        "/api/export/request/zip": {"includeStorage": "true", "component": ""},
        "/api/shapes2": {"component": ""},
        "/api/list_snapshot": {"cursor": things.snapshot_cursor, "component": ""},
        "/api/document_deltas": {"cursor": str(things.ts), "tableName": "notes", "format": "convex_json"},
        "/api/json_schemas": {"deltaSchema": "true", "byComponent": "false"},
        "/api/app_metrics/table_rate": {"window": _WINDOW, "name": "notes", "metric": "rowsRead"},
        "/api/check_admin_key": {"adminKey": "x"},
    }
    for _, path in routes_of(site.core):
        if path.startswith("/api/app_metrics/") and path not in parameters:
            parameters[path] = {"window": _WINDOW, "path": "shop:count", "metric": "errors", "k": "3"}
    names = (things.import_id, things.export_id, things.document_id, things.storage_uuid, "shop/increment")
    return Known(routes_of(site.core), bodies, parameters, names, key, reader)
