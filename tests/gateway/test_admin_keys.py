"""Admin keys that count no longer, and keys that only look (spec 02 1, 21): over HTTP and over sockets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from log.secrets import issue_admin_key, read_admin_key

from ..support.fake_backend import SETTINGS
from .test_authentication import Site, received, run, send

NOW = int(time.time())
READS = [("GET", "/api/list_environment_variables"), ("GET", "/api/v1/get_canonical_urls")]
WRITES = [
    ("/api/get_config_hashes", "Deploy"),
    ("/api/deploy2/start_push", "Deploy"),
    ("/api/deploy2/finish_push", "Deploy"),
    ("/api/update_environment_variables", "WriteEnvironmentVariables"),
    ("/api/update_canonical_url", "WriteEnvironmentVariables"),
    ("/api/v1/update_canonical_url", "WriteEnvironmentVariables"),
    ("/api/v1/pause_deployment", "PauseDeployment"),
    ("/api/v1/unpause_deployment", "UnpauseDeployment"),
    ("/api/cancel_job", "WriteData"),
    ("/api/cancel_all_jobs", "WriteData"),
]


def new_key(issued_seconds: int = NOW, *, read_only: bool = False) -> str:
    return issue_admin_key(
        SETTINGS.instance_secret, SETTINGS.instance_name, issued_seconds, read_only=read_only
    )


def id_of(key: str) -> str:
    found = read_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, key)
    assert found is not None
    return found.key_id


async def status_with(site: Site, key: str) -> int:
    headers = {"Authorization": f"Convex {key}"}
    return (await site.http.get("/api/check_admin_key", headers=headers)).status_code


def test_a_revoked_key_is_refused_wherever_it_is_shown_and_others_are_not() -> None:
    async def scenario(site: Site) -> None:
        revoked, kept = new_key(), new_key()
        assert await status_with(site, revoked) == 200
        await site.backend.write(revoked={"keyIds": [id_of(revoked)], "issuedUntil": -1.0})
        assert (await status_with(site, revoked), await status_with(site, kept)) == (401, 200)
        by_parameter = await site.http.get("/api/check_admin_key", params={"adminKey": revoked})
        in_body = await site.http.post("/api/get_config_hashes", json={"adminKey": revoked})
        for answer in (by_parameter, in_body):
            assert (answer.status_code, answer.json()["code"]) == (401, "BadAdminKey")
        assert not site.backend.admin_calls

    run(scenario)


def test_all_keys_up_to_a_moment_are_refused_and_later_ones_are_not() -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(revoked={"keyIds": [], "issuedUntil": float(NOW)})
        for issued, status in ((NOW - 1, 401), (NOW, 401), (NOW + 1, 200)):
            assert await status_with(site, new_key(issued)) == status

    run(scenario)


def test_keys_from_before_they_had_ids_of_their_own_still_count() -> None:
    """One that the first version of the format issued for this secret, name and second."""
    key = "test-instance|AQAAAAAAAAABACHNVI2gaeg-0zETuWM3CgSi1h47X9HFPtL3-aHoMC2E"
    found = read_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, key)
    assert found is not None and (found.issued_seconds, found.is_read_only) == (1, False)


def test_no_two_keys_are_equal() -> None:
    keys = {new_key() for _ in range(100)}
    assert len({id_of(key) for key in keys}) == 100


def test_a_socket_whose_key_is_revoked_is_closed_at_the_next_heartbeat() -> None:
    async def scenario(site: Site) -> None:
        key = new_key()
        other, socket = await site.socket(), await site.socket()
        for each, shown in ((other, new_key()), (socket, key)):
            await send(each, type="Authenticate", baseVersion=0, tokenType="Admin", value=shown)
            await send(each, type="Mutation", requestId=0, udfPath="m:touch", args=[{}])
            while (await received(each))["type"] != "MutationResponse":
                pass
        await site.backend.write(revoked={"keyIds": [id_of(key)], "issuedUntil": -1.0})
        said: list[dict[str, Any]] = []
        with pytest.raises(ConnectionClosed):
            while True:
                said.append(await received(socket))
        (refusal,) = [message for message in said if message["type"] == "AuthError"]
        assert refusal["error"] == "The provided admin key was invalid for this instance"
        await send(other, type="Mutation", requestId=1, udfPath="m:touch", args=[{}])
        while (await received(other)).get("requestId") != 1:
            pass
        await other.close()

    run(scenario)


def test_a_read_only_key_is_told_what_it_may_do() -> None:
    async def scenario(site: Site) -> None:
        headers = {"Authorization": f"Convex {new_key(read_only=True)}"}
        answer = (await site.http.get("/api/check_admin_key", headers=headers)).json()
        assert answer["isReadOnly"] and "ViewData" in answer["allowedOps"]
        for method, path in READS:
            assert (await site.http.request(method, path, headers=headers)).status_code == 200

    run(scenario)


@pytest.mark.parametrize(("path", "operation"), WRITES)
def test_a_read_only_key_changes_nothing(path: str, operation: str) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.post(path, json={"adminKey": new_key(read_only=True)})
        assert (answer.status_code, answer.json()["code"]) == (403, "OperationNotPermitted")
        expected = f"You do not have permission to perform this operation ({operation})."
        assert answer.json()["message"].startswith(expected)
        assert not site.backend.admin_calls

    run(scenario)


def test_over_a_socket_functions_that_write_fail_for_a_read_only_key_and_queries_do_not() -> None:
    async def scenario(site: Site) -> None:
        socket = await site.socket()
        key = new_key(read_only=True)
        await send(socket, type="Authenticate", baseVersion=0, tokenType="Admin", value=key)
        for number, kind in enumerate(("Mutation", "Action")):
            await send(socket, type=kind, requestId=number, udfPath="m:touch", args=[{}])
            while (answer := await received(socket))["type"] != f"{kind}Response":
                pass
            assert not answer["success"]
            assert f"perform this operation (RunInternal{kind}s)." in answer["result"]
        assert not site.backend.runs["m.js:touch"]
        await asyncio.wait_for(socket.close(), 10)

    run(scenario)
