"""The HTTP side of the gateway, through its whole ASGI application (spec 01 2, spec 02 1-8, 16)."""

from __future__ import annotations

import asyncio
import base64
import gzip
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import brotli
import httpx
import orjson
import pytest

from gateway.app import build_app
from gateway.compression import decompress
from gateway.core import GatewayCore
from gateway.http import read_body
from gateway.routes.http_actions import HttpActionRoutes
from log import errors
from log.errors import BackendError, ErrorKind
from log.ids import ts_to_base64
from log.secrets import issue_admin_key

from ..support.fake_backend import SETTINGS, FakeBackend

KEY = issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1)
ADMIN_HEADERS = {"Authorization": f"Convex {KEY}"}
JSON = {"Content-Type": "application/json"}
NPM = {"Convex-Client": "npm-1.48.0"}
PROVIDERS_PATH = "_system/frontend/listAuthProviders.js:default"


@dataclass
class Site:
    backend: FakeBackend
    core: GatewayCore
    http: httpx.AsyncClient


def run(scenario: Callable[[Site], Awaitable[None]]) -> None:
    defects: list[BaseException] = []

    async def body() -> None:
        backend = FakeBackend()
        core = GatewayCore(backend, SETTINGS, defects.append)
        transport = httpx.ASGITransport(app=build_app(core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await scenario(Site(backend, core, client))

    asyncio.run(body())
    assert defects == []


def call(path: str, args: Any = None, **more: Any) -> dict[str, Any]:
    return {"path": path, "args": {} if args is None else args, **more}


def test_a_query_is_answered_in_an_envelope_and_from_the_cache_the_second_time() -> None:
    async def scenario(site: Site) -> None:
        for args in ({}, [{}]):
            answer = await site.http.post("/api/query", json=call("m:list", args), headers=NPM)
            assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
            assert answer.json() == {"status": "success", "value": [], "logLines": ["[LOG] 'listing'"]}
            await asyncio.sleep(0.01)
        assert site.backend.runs["m.js:list"] == 1

    run(scenario)


def test_a_query_by_get_takes_its_arguments_from_the_address() -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(other=7.0)
        answer = await site.http.get("/api/query", params={"path": "m:count", "args": '{"name":"other"}'})
        assert answer.json() == {"status": "success", "value": 7.0}
        bad = await site.http.get("/api/query", params={"path": "m:count", "args": "{"})
        assert (bad.status_code, bad.json()["code"]) == (400, "BadQueryArgs")

    run(scenario)


def test_a_function_failure_is_an_envelope_with_status_200() -> None:
    async def scenario(site: Site) -> None:
        headers = {**NPM, "Convex-Request-Id": "0123456789abcdef"}
        answer = await site.http.post("/api/mutation", json=call("m:failing"), headers=headers)
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "error",
            "errorMessage": "[Request ID: 0123456789abcdef] Server Error\nUncaught Error: no\n"
            "    at handler (../convex/m.ts:3:8)\n",
        }
        await site.backend.write(broken=True, data=None)
        strict = (await site.http.post("/api/query", json=call("m:strict"), headers=NPM)).json()
        assert "errorData" in strict and strict["errorData"] is None

    run(scenario)


@pytest.mark.parametrize(
    ("output", "value"),
    [
        ("convex_encoded_json", {"$integer": "KgAAAAAAAAA="}),
        ("convex_json", {"$integer": "KgAAAAAAAAA="}),
        ("json", "42"),
        ("convex_clean_json", "42"),
        ("export_json", 42),
        (None, "42"),
    ],
)
def test_values_come_in_the_format_asked_for(output: str | None, value: Any) -> None:
    async def scenario(site: Site) -> None:
        args = {"n": {"$integer": "KgAAAAAAAAA="}}
        fields = call("m:echo", args) if output is None else call("m:echo", args, format=output)
        assert (await site.http.post("/api/action", json=fields, headers=NPM)).json()["value"] == {"n": value}

    run(scenario)


def test_an_unknown_format_is_refused_before_the_mutation_runs() -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.post("/api/mutation", json=call("m:increment", format="xml"))
        assert (answer.status_code, answer.json()["code"]) == (400, "BadFormat")
        assert site.backend.runs["m.js:increment"] == 0

    run(scenario)


JSON_TYPE = {"Content-Type": "application/json"}
TOKEN = "x." + base64.urlsafe_b64encode(b'{"iss":"https://i"}').decode().rstrip("=") + ".y"
NO_ISSUER = "x." + base64.urlsafe_b64encode(b'{"sub":"s"}').decode().rstrip("=") + ".y"
GOOD = orjson.dumps(call("m:list"))


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", JSON_TYPE, 400, "BadJsonBody"),
        (b"[]", JSON_TYPE, 400, "BadJsonBody"),
        (b'{"args":{}}', JSON_TYPE, 400, "BadJsonBody"),
        (b'{"path":"m:list","args":5}', JSON_TYPE, 400, "BadJsonBody"),
        (b'{"path":"m:list","args":' + b"[" * 300 + b"]" * 300 + b"}", JSON_TYPE, 400, "BadJsonBody"),
        (GOOD, {}, 400, "BadJsonBody"),
        (GOOD, {"Content-Type": "text/plain"}, 400, "BadJsonBody"),
        (b" " * (16 * 1024 * 1024 + 2001), JSON_TYPE, 400, "BadJsonBody"),
        (b'{"path":"../x:y","args":{}}', JSON_TYPE, 400, "BadConvexFunctionIdentifier"),
        (GOOD, {**JSON_TYPE, "Authorization": "x"}, 400, "InvalidHeaderFailure"),
        (GOOD, {**JSON_TYPE, "Authorization": "Basic abcdef"}, 400, "InvalidAdminKey"),
        (GOOD, {**JSON_TYPE, "Authorization": "Convex nonsense"}, 401, "BadAdminKey"),
        (GOOD, {**JSON_TYPE, "Authorization": f"Convex {KEY}:%%%"}, 400, "HeaderParseFailure"),
        (GOOD, {**JSON_TYPE, "Authorization": "Bearer nonsense"}, 401, "InvalidAuthHeader"),
        (GOOD, {**JSON_TYPE, "Authorization": f"Bearer {NO_ISSUER}"}, 401, "InvalidAuthHeader"),
        (GOOD, {**JSON_TYPE, "Authorization": f"Bearer {TOKEN}"}, 401, "NoAuthProvider"),
        (GOOD, {**JSON_TYPE, "Convex-Client": "npm"}, 400, "InvalidClientVersion"),
        (GOOD, {**JSON_TYPE, "Convex-Client": "npm-0.19.1"}, 400, "ClientVersionUnsupported"),
        (GOOD, {**JSON_TYPE, "Convex-Client": "npm-soon"}, 400, "ClientVersionUnsupported"),
    ],
)
def test_a_bad_request_is_refused_with_its_code(
    body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.post("/api/query", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {"code", "message"}
        assert not site.backend.runs.keys() - {PROVIDERS_PATH}, "no function of the app ran"

    run(scenario)


def test_a_client_too_old_is_told_by_headers_and_served_no_route() -> None:
    async def scenario(site: Site) -> None:
        for path in ("/", "/version", "/api/query_ts"):
            answer = await site.http.get(path, headers={"Convex-Client": "npm-0.19.1"})
            assert answer.status_code == 400
            assert answer.headers["x-convex-deprecation-state"] == "Unsupported"
        fine = await site.http.get("/version", headers={"Convex-Client": "npm-cli-1.48.0"})
        assert "x-convex-deprecation-state" not in fine.headers

    run(scenario)


def test_system_refusals_have_their_status_and_internal_ones_say_nothing() -> None:
    async def scenario(site: Site) -> None:
        site.backend.fail_next(errors.mutation_conflict("counters", None))
        answer = await site.http.post("/api/mutation", json=call("m:increment"))
        assert (answer.status_code, answer.json()["code"]) == (503, "OptimisticConcurrencyControlFailure")
        site.backend.fail_next(errors.socket_protocol_broken("secret detail"))
        answer = await site.http.post("/api/mutation", json=call("m:increment"))
        assert answer.status_code == 500 and "secret" not in answer.text

    run(scenario)


def test_acting_as_a_user_shows_its_attributes_also_non_ascii_ones() -> None:
    async def scenario(site: Site) -> None:
        attributes = base64.b64encode('{"issuer":"i","subject":"s","name":"Zoë"}'.encode()).decode()
        for prefix in ("", "prod:"):
            headers = {"Authorization": f"convex {prefix}{KEY}:{attributes}"}
            answer = await site.http.post("/api/query", json=call("m:who"), headers=headers)
            assert answer.json()["value"] == {
                "issuer": "i",
                "name": "Zoë",
                "subject": "s",
                "tokenIdentifier": "i|s",
            }

    run(scenario)


def test_a_query_at_an_older_ts_shows_the_older_state() -> None:
    async def scenario(site: Site) -> None:
        old_ts = (await site.http.post("/api/query_ts", content=b"", headers=JSON_TYPE)).json()["ts"]
        await site.backend.write(counter=5.0)
        at = await site.http.post("/api/query_at_ts", json=call("m:count", ts=old_ts))
        assert at.json()["value"] == 0.0
        assert (await site.http.post("/api/query", json=call("m:count"))).json()["value"] == 5.0
        for bad in ("AAAA", ts_to_base64(2**62), None):
            assert (await site.http.post("/api/query_at_ts", json=call("m:count", ts=bad))).status_code == 500

    run(scenario)


def test_a_batch_has_one_snapshot_and_keeps_function_failures_apart() -> None:
    async def scenario(site: Site) -> None:
        queries = [call("m:count"), call("m:fail"), call("m:list")]
        answer = (await site.http.post("/api/query_batch", json={"queries": queries})).json()["results"]
        assert [envelope["status"] for envelope in answer] == ["success", "error", "success"]
        bad = await site.http.post("/api/query_batch", json={"queries": [call("m:count"), call("..:x")]})
        assert bad.json()["code"] == "BadConvexFunctionIdentifier"

    run(scenario)


def test_functions_of_unknown_type_need_an_admin_or_their_address() -> None:
    async def scenario(site: Site) -> None:
        refused = await site.http.post("/api/function", json=call("m:increment"))
        assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")
        assert "test-instance" in refused.json()["message"]
        fields = call("m:increment", componentPath="part")
        answer = await site.http.post("/api/function", json=fields, headers=ADMIN_HEADERS)
        assert answer.json()["value"] == 1.0 and site.backend.calls[-1].component == "part"
        assert (await site.http.post("/api/run/m/count", json={"args": {}})).json()["value"] == 1.0
        assert (await site.http.post("/api/run/count", json={"args": {}})).json()[
            "code"
        ] == "MissingIdentifier"

    run(scenario)


def test_the_probes_answer_their_exact_texts() -> None:
    async def scenario(site: Site) -> None:
        texts = {
            "/": "This Convex deployment is running. See https://docs.convex.dev/.",
            "/version": "1.2.3",
            "/instance_version": "1.2.3",
            "/instance_name": "test-instance",
        }
        for path, text in texts.items():
            assert (await site.http.get(path)).text == text
        blob = bytes(range(256)) * 100
        assert (await site.http.post("/echo", content=blob)).content == blob
        good = await site.http.get("/api/check_admin_key", headers=ADMIN_HEADERS)
        assert good.json() == {"success": True, "allowedOps": [], "isReadOnly": False}
        assert (await site.http.get("/api/check_admin_key", params={"adminKey": KEY})).status_code == 200
        assert (await site.http.get("/api/check_admin_key")).status_code == 403
        bad = await site.http.get("/api/check_admin_key", headers={"Authorization": "Convex test-instance|x"})
        assert (bad.status_code, bad.json()["code"]) == (401, "BadAdminKey")

    run(scenario)


@pytest.mark.parametrize("path", ["/api/get_config_hashes", "/api/cancel_job", "/api/cancel_all_jobs"])
def test_a_body_nested_too_deeply_to_be_passed_on_is_refused(path: str) -> None:
    async def scenario(site: Site) -> None:
        body = b'{"a":' * 400 + b"1" + b"}" * 400
        answer = await site.http.post(path, content=body, headers={**ADMIN_HEADERS, **JSON})
        assert (answer.status_code, answer.json()["code"]) == (400, "BadJsonBody")
        assert not site.backend.admin_calls

    run(scenario)


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/api/delete_scheduled_functions_table", "delete_scheduled_functions"),
        ("/api/delete_component", "delete_component"),
        ("/api/cancel_all_jobs", "cancel_all_jobs"),
    ],
)
def test_an_operation_of_steps_is_asked_from_where_the_step_before_ended_until_it_is_done(
    path: str, operation: str
) -> None:
    async def scenario(site: Site) -> None:
        place = {"afterKey": "00ff", "createdBeforeMs": 7}
        steps = [{"isDone": False, "next": place}, {"isDone": False}, {"isDone": True}]
        site.backend.admin_answers[operation] = [orjson.dumps(step) for step in steps]
        answer = await site.http.post(path, json={"componentId": "a"}, headers=ADMIN_HEADERS)
        assert (answer.status_code, answer.content) == (200, b"")
        asked = [orjson.loads(body) for _, body, _ in site.backend.admin_calls]
        assert asked == [{"componentId": "a", "next": each} for each in (None, place, None)]

    run(scenario)


@pytest.mark.parametrize("host", ["x" * 300, "a..b", "é" * 100])
def test_a_host_that_is_none_is_a_refusal_without_a_body(host: str) -> None:
    async def scenario(site: Site) -> None:
        headers = {"host": host.encode()}
        answer = await site.http.get("/instance_name", headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.content) in ((400, b""), (200, b"test-instance"))
        assert (await site.http.get("/version", headers=headers)).text == "1.2.3"  # type: ignore[arg-type]

    run(scenario)


@pytest.mark.parametrize("path", ["/api/query", "/api/query_ts", "/api/deploy2/start_push", "/instance_name"])
def test_browsers_on_other_origins_are_let_in_everywhere(path: str) -> None:
    async def scenario(site: Site) -> None:
        asked = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,convex-client",
        }
        preflight = await site.http.options(path, headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert preflight.headers["access-control-allow-headers"] == "content-type,convex-client"
        assert preflight.headers["access-control-max-age"] == "86400"
        assert "PATCH" in preflight.headers["access-control-allow-methods"]
        answer = await site.http.get(path, headers={"Origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "access-control-allow-origin" not in (await site.http.get(path)).headers

    run(scenario)


def test_an_app_without_http_actions_says_so_on_both_ports_without_cors() -> None:
    async def scenario(site: Site) -> None:
        text = "This Convex deployment does not have HTTP actions enabled."
        here = await site.http.get("/http/hook", headers={"Origin": "https://a"})
        assert (here.status_code, here.text) == (404, text)
        assert "access-control-allow-origin" not in here.headers
        transport = httpx.ASGITransport(app=HttpActionRoutes(site.core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as other:
            there = await other.get("/hook")
            assert (there.status_code, there.text) == (404, text)

    run(scenario)


def test_unbuilt_endpoints_say_so_and_unknown_ones_are_an_empty_404() -> None:
    async def scenario(site: Site) -> None:
        for path in ("/api/import", "/api/get_indexes"):
            answer = await site.http.post(path)
            assert (answer.status_code, answer.json()["code"]) == (400, "NotSupportedYet")
        long, slashes = f"/static/{'a' * 9_000}", "/api/%2f/check_admin_key"
        for path in ("/api/nothing", "/nothing", long, slashes):
            answer = await site.http.get(path)
            assert (answer.status_code, answer.content) == (404, b"")
        from_cli = await site.http.get("/api/nothing", headers={"Convex-Client": "npm-cli-1.48.0"})
        assert (from_cli.status_code, from_cli.json()["code"]) == (400, "NotSupportedYet")

    run(scenario)


@pytest.mark.parametrize("before", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
def test_a_client_that_left_sent_no_body(before: list[dict[str, Any]]) -> None:
    messages = iter([*before, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    with pytest.raises(BackendError) as raised:
        asyncio.run(read_body(receive))
    assert raised.value.kind is ErrorKind.CLIENT_DISCONNECT


def test_a_plain_get_of_the_sync_address_is_no_handshake() -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.get("/api/1.48.0/sync", headers={"Connection": "close"})
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidConnectionHeader")
        answer = await site.http.get("/api/sync", headers={"Connection": "Upgrade"})
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidUpgradeHeader")

    run(scenario)


@pytest.mark.parametrize("encoding", ["br", "gzip", "deflate", "identity", ""])
def test_a_push_reaches_the_backend_decompressed_and_without_its_key(encoding: str) -> None:
    async def scenario(site: Site) -> None:
        packed = pack(orjson.dumps({"adminKey": KEY, "dryRun": False}), encoding)
        site.backend.admin_answers["start_push"] = [b'{"pushId":"p1"}']
        headers = {**JSON_TYPE, "Content-Encoding": encoding} if encoding else JSON_TYPE
        answer = await site.http.post("/api/deploy2/start_push", content=packed, headers=headers)
        assert answer.content == b'{"pushId":"p1"}'
        (operation, body, identity) = site.backend.admin_calls[0]
        assert (operation, body, identity.kind) == ("start_push", b'{"dryRun":false}', "admin")

    run(scenario)


def pack(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "br":
            return brotli.compress(body)
        case "gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
    return body


@pytest.mark.parametrize("encoding", ["br", "gzip", "deflate"])
def test_a_decompression_bomb_is_refused_while_it_grows(encoding: str) -> None:
    bomb = pack(b"\0" * 12_000_000, encoding)
    assert len(bomb) < 100_000
    with pytest.raises(BackendError) as refusal:
        decompress(bomb, encoding, 3_000_000)
    assert refusal.value.code == "BadJsonBody"
    assert decompress(pack(b"x" * 3_000_000, encoding), encoding, 3_000_000) == b"x" * 3_000_000


@pytest.mark.parametrize("encoding", ["br", "gzip", "deflate", "zstd"])
def test_a_truncated_or_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(BackendError) as refusal:
        decompress(pack(bytes(range(256)) * 50, encoding)[:-30], encoding, 10**6)
    assert refusal.value.code == "BadContentEncoding"


def test_a_push_without_an_admin_key_reaches_nobody() -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.post("/api/deploy2/start_push", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "BadDeployKey")
        answer = await site.http.post("/api/deploy2/finish_push", json={"adminKey": "x|y"})
        assert (answer.status_code, answer.json()["code"]) == (401, "BadAdminKey")
        assert site.backend.admin_calls == []

    run(scenario)


def test_waiting_for_a_schema_asks_again_when_the_log_moves_and_gives_up_in_time() -> None:
    async def scenario(site: Site) -> None:
        progress = b'{"type":"inProgress","components":{}}'
        site.backend.admin_answers["wait_for_schema"] = [progress, b'{"type":"complete"}']
        fields = {"adminKey": KEY, "schemaChange": {}, "timeoutMs": 5_000}
        asked = asyncio.create_task(site.http.post("/api/deploy2/wait_for_schema", json=fields))
        while not site.backend.admin_calls:
            await asyncio.sleep(0.001)
        assert not asked.done()
        await site.backend.write(progress=1)
        assert (await asked).json() == {"type": "complete"}
        site.backend.admin_answers["wait_for_schema"] = [progress]
        started = time.monotonic()
        late = await site.http.post("/api/deploy2/wait_for_schema", json={**fields, "timeoutMs": 50})
        assert late.content == progress and time.monotonic() - started < 2

    run(scenario)


def test_the_other_deploy_routes_answer_what_the_cli_reads() -> None:
    async def scenario(site: Site) -> None:
        done = await site.http.post("/api/deploy2/report_push_completed", json={"adminKey": KEY, "spans": []})
        assert done.content == b"null"
        site.backend.admin_answers["get_canonical_urls"] = [b'{"convexCloudUrl":"u","convexSiteUrl":"v"}']
        urls = await site.http.get("/api/v1/get_canonical_urls", headers=ADMIN_HEADERS)
        assert urls.json() == {"convexCloudUrl": "u", "convexSiteUrl": "v"}
        info = await site.http.get("/api/v1/deployment_info", headers=ADMIN_HEADERS)
        assert info.json() == {"kind": "selfHosted"}
        changes = {"changes": [{"name": "A", "value": "b"}]}
        await site.http.post("/api/update_environment_variables", json=changes, headers=ADMIN_HEADERS)
        assert site.backend.admin_calls[-1][:2] == ("update_environment_variables", orjson.dumps(changes))

    run(scenario)


def test_the_log_stream_starts_at_once_on_an_empty_log_and_then_waits_for_entries() -> None:
    async def scenario(site: Site) -> None:
        first = (await site.http.get("/api/stream_function_logs?cursor=0", headers=ADMIN_HEADERS)).json()
        assert first["entries"] == [] and first["newCursor"] > 0
        # Entries of tests come from one process clock: the cursor may not be ahead of the next entry.
        address = f"/api/stream_function_logs?cursor={first['newCursor']}"
        headers = {**ADMIN_HEADERS, "Convex-Client": "npm-cli-1.48.0"}
        polling = asyncio.create_task(site.http.get(address, headers=headers))
        await asyncio.sleep(0.01)
        assert not polling.done()
        await site.http.post("/api/action", json=call("m:echo"))
        (entry,) = (await polling).json()["entries"]
        assert (entry["kind"], entry["udfType"], entry["identifier"]) == ("Completion", "Action", "m:echo")
        assert entry["logLines"][0]["messages"] == ["'thinking'"] and entry["logLines"][0]["level"] == "LOG"
        assert (await site.http.get(address)).status_code == 403

    run(scenario)
