"""fetch() in the real engine against a real server; where the standard decides, Node.js is the twin."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from actors.egress import EgressRules
from actors.fetch import Fetches, HttpTransport
from functions.isolate import Returned, Settled, Thrown

from ..support.driven_action import DrivenAction, VirtualTimers
from ..support.http_peer import HttpPeer
from ..support.twin import GUARDED, cases, in_node


class World:
    """A server, another origin, and a transport that actions share."""

    async def __aenter__(self) -> World:
        self.peer, self.other = HttpPeer(), HttpPeer()
        await self.peer.__aenter__()
        await self.other.__aenter__()
        self.transport = HttpTransport(EgressRules())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()
        await self.peer.__aexit__()
        await self.other.__aexit__()

    def source(self, body: str) -> str:
        origins = f"const BASE = {json.dumps(self.peer.url(''))}, OTHER = {json.dumps(self.other.url(''))};"
        return f"{GUARDED} {origins} export const f = action(async () => {{\n{body}\n}});"

    async def settle(self, body: str) -> Settled:
        fetches, timers = Fetches(self.transport), VirtualTimers()
        operations = {
            "host/fetch": fetches.fetch,
            "host/fetchRead": fetches.read,
            "host/fetchWrite": fetches.write,
            "host/sleep": timers.sleep,
        }
        tellings = {"host/fetchAbort": fetches.abort, "host/cancelSleep": timers.cancel}
        self.action = DrivenAction(self.source(body), operations, tellings)
        asyncio.get_running_loop().call_later(0.2, timers.pass_time)
        try:
            return await self.action.settle()
        finally:
            await fetches.close()


def outcome_of(body: str) -> tuple[Settled, World]:
    async def whole() -> tuple[Settled, World]:
        async with World() as world:
            return await world.settle(body), world

    return asyncio.run(whole())


def value_of(body: str) -> Any:
    settled, _ = outcome_of(body)
    assert isinstance(settled, Returned), settled
    return json.loads(settled.json)


def error_of(body: str) -> str:
    settled, _ = outcome_of(body)
    assert isinstance(settled, Thrown), settled
    return f"{settled.name}: {settled.message}"


# --- as in Node.js ---------------------------------------------------------------------------------------


def test_fetch_does_what_it_does_in_node() -> None:
    async def whole() -> None:
        async with World() as world:
            snippets = cases("fetch")
            bases = (
                f"const BASE = {json.dumps(world.peer.url(''))}, OTHER = {json.dumps(world.other.url(''))};\n"
            )
            expected = await asyncio.to_thread(in_node, [bases + snippet for snippet in snippets])
            for snippet, outcome in zip(snippets, expected, strict=True):
                settled = await world.settle(f"return guarded(async () => {{ {snippet} }});")
                assert isinstance(settled, Returned), f"{snippet}: {settled}"
                assert json.loads(settled.json) == outcome, snippet

    asyncio.run(whole())


# --- what the specification says in words ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("await fetch(BASE + '/redirect/302?to=/echo', { redirect: 'error' })", "fetch attempted redirect"),
        ("await fetch(BASE + '/hops/21')", "fetch too many redirects"),
        (
            "await fetch(BASE + '/redirect/307?to=/echo', { method: 'POST', duplex: 'half', body: "
            "new ReadableStream({ start: (c) => { c.enqueue(new Uint8Array(3)); c.close(); } }) })",
            "fetch cannot redirect with streamed body",
        ),
        ("await fetch('nowhere')", "Invalid URL: 'nowhere'"),
        ("await fetch('ftp://x.test/')", "fetch: only http and https are supported, not ftp://x.test/"),
        (
            "await fetch(BASE + '/redirect/302?to=file:///etc')",
            "fetch: only http and https are supported, not",
        ),
        ("await fetch(BASE + '/redirect/302?to=http://a:b@x.test/')", "fetch cannot redirect to a URL that"),
    ],
)
def test_what_fetch_refuses_it_refuses_in_the_specified_words(body: str, error: str) -> None:
    assert error_of(body).startswith(f"TypeError: {error}")


def test_twenty_redirects_are_followed() -> None:
    assert value_of("const r = await fetch(BASE + '/hops/20'); return [await r.text(), r.redirected];") == [
        "arrived",
        True,
    ]


def test_a_failure_of_the_network_is_an_error_with_the_words_of_the_transport() -> None:
    assert error_of("await fetch('http://127.0.0.1:1/');").startswith(
        "Error: Cannot connect to host 127.0.0.1:1"
    )
    assert error_of("await (await fetch(BASE + '/cut')).text();").startswith("Error: ")


def test_a_request_has_the_default_headers_and_no_others() -> None:
    seen = value_of("return (await (await fetch(BASE + '/echo')).json()).headers;")
    assert seen == {"accept": "*/*", "user-agent": "Convex/1.0"}
    own = value_of(
        "return (await (await fetch(BASE + '/echo', { headers: { 'User-Agent': 'me' } })).json()).headers;"
    )
    assert own["user-agent"] == "me"


def test_credentials_do_not_follow_a_redirect_to_another_origin() -> None:
    body = """
      const headers = { authorization: "secret", cookie: "a=1", "x-mine": "kept" };
      const shown = async (to) => {
        const url = `${BASE}/redirect/302?to=${encodeURIComponent(to)}`;
        const seen = await (await fetch(url, { headers })).json();
        return [seen.headers.authorization ?? null, seen.headers.cookie ?? null, seen.headers["x-mine"]];
      };
      return [await shown("/echo"), await shown(OTHER + "/echo")];"""
    assert value_of(body) == [["secret", "a=1", "kept"], [None, None, "kept"]]


# --- bodies ----------------------------------------------------------------------------------------------


def test_a_response_is_read_as_it_comes_and_can_be_left() -> None:
    body = """
      const response = await fetch(BASE + "/endless");
      const reader = response.body.getReader();
      const whole = [];
      while (whole.length < 200_000) whole.push(...(await reader.read()).value.slice(0, 60_000));
      await reader.cancel("enough");
      return [whole.every((byte, at) => typeof byte === "number"), (await reader.read()).done];"""
    settled, world = outcome_of(body)
    assert settled == Returned(b"[true,true]")
    assert world.peer.left.is_set(), "the sender was told"
    assert world.action.unawaited == []


def test_a_large_body_arrives_whole_in_both_directions() -> None:
    body = """
      const piece = Uint8Array.from({ length: 100_003 }, (_, at) => at * 7);
      let left = 12;
      const pull = (c) => (left-- > 0 ? c.enqueue(piece.slice()) : c.close());
      const streamed = { method: "POST", body: new ReadableStream({ pull }), duplex: "half" };
      const seen = await (await fetch(BASE + "/echo", streamed)).json();
      const right = [...piece].map((byte) => String.fromCharCode(byte)).join("").repeat(12);
      return [seen.body === right, seen.headers["content-length"] ?? null];"""
    assert value_of(body) == [True, None]


def test_a_stream_that_fails_ends_the_request_with_its_error() -> None:
    body = """
      let count = 0;
      const spoil = () => { throw new RangeError("spoiled"); };
      const pull = (c) => (++count === 3 ? spoil() : c.enqueue(new Uint8Array(9)));
      await fetch(BASE + "/echo", { method: "POST", body: new ReadableStream({ pull }), duplex: "half" });"""
    assert error_of(body) == "RangeError: spoiled"
    words = "const body = new ReadableStream({ start: (c) => c.enqueue('text') });"
    body = f"{words} await fetch(BASE + '/echo', {{ method: 'POST', body, duplex: 'half' }});"
    assert error_of(body) == "TypeError: Received non-Uint8Array chunk"


def test_an_answer_that_comes_early_is_an_answer() -> None:
    body = """
      let cancelled = false;
      const pull = (c) => c.enqueue(new Uint8Array(70_000));
      const stream = new ReadableStream({ pull, cancel: () => void (cancelled = true) });
      const response = await fetch(BASE + "/ignores", { method: "POST", body: stream, duplex: "half" });
      const text = await response.text();
      for (let turn = 0; turn < 9 && !cancelled; turn++) await fetch(BASE + "/status/200");
      return [text, cancelled];"""
    assert value_of(body) == ["enough", True]


def test_forms_go_out_and_come_in() -> None:
    body = """
      const form = new FormData();
      form.append("name", "value");
      form.append("file", new File([new Uint8Array(1000)], "a.bin"));
      const back = await (await fetch(BASE + "/form", { method: "POST", body: form })).formData();
      return [...back.values()];"""
    assert value_of(body) == ["name//5", "file/a.bin/1000"]


# --- ends ------------------------------------------------------------------------------------------------


def test_a_signal_ends_what_waits_for_the_head() -> None:
    body = """
      const controller = new AbortController();
      const waiting = fetch(BASE + "/never", { signal: controller.signal });
      setTimeout(() => controller.abort(), 1);
      try { await waiting; } catch (e) { return [e instanceof DOMException, e.name, e.message]; }"""
    settled, world = outcome_of(body)
    assert settled == Returned(b'[true,"AbortError","The signal has been aborted"]')
    assert world.peer.left.is_set()


def test_a_signal_ends_a_body_that_is_being_read() -> None:
    body = """
      const response = await fetch(BASE + "/waits", { signal: AbortSignal.timeout(1) });
      const reader = response.body.getReader();
      const first = new TextDecoder().decode((await reader.read()).value);
      try { await reader.read(); } catch (e) { return [first, e.name, e.message]; }"""
    assert value_of(body) == ["first", "TimeoutError", "The operation was aborted due to timeout"]


def test_a_signal_ends_a_body_that_is_being_sent() -> None:
    body = """
      const controller = new AbortController();
      let reason;
      const pull = () => new Promise(() => {});
      const stream = new ReadableStream({ pull, cancel: (why) => void (reason = why) });
      setTimeout(() => controller.abort("own reason"), 1);
      const options = { method: "POST", body: stream, duplex: "half", signal: controller.signal };
      try { await fetch(BASE + "/echo", options); } catch (e) { return [e, reason]; }"""
    assert value_of(body) == ["own reason", "own reason"]


def test_a_signal_that_was_aborted_before_sends_nothing() -> None:
    settled, world = outcome_of("await fetch(BASE + '/echo', { signal: AbortSignal.abort() });")
    assert isinstance(settled, Thrown) and settled.name == "AbortError"
    assert world.peer.seen == []


def test_requests_that_nobody_awaited_are_named() -> None:
    settled, world = outcome_of(
        "fetch(BASE + '/never').catch(() => {}); await fetch(BASE + '/echo'); return 1;"
    )
    assert settled == Returned(b"1") and world.action.unawaited == ["host/fetch"]
