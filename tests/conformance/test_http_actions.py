"""HTTP actions of a real app: routes, bodies that stream, failures; on both ports (spec 01 2.7, 03 5.4)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ..support.app_calls import count, until
from ..support.server import RunningServer

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(params=["site port", "below /http"])
def client(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    base = server.site_url if request.param == "site port" else f"{server.url}/http"
    with httpx.Client(base_url=base, timeout=60) as opened:
        yield opened


@pytest.fixture
def site(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.site_url, timeout=60) as opened:
        yield opened


def test_a_route_sees_its_request_and_its_response_arrives(client: httpx.Client) -> None:
    answer = client.get("/hello?name=ann", headers={"x-given": "yes"})
    origin = str(client.base_url).removesuffix("/http/").removesuffix("/")
    assert answer.text == f"hello ann of {origin}/hello"
    assert answer.headers["x-seen"] == "yes" and answer.headers["content-length"] == str(len(answer.text))


def test_a_body_is_read_and_functions_are_called(client: httpx.Client) -> None:
    name = f"http-{client.base_url.port}"
    answer = client.post("/count", json={"name": name})
    assert (answer.status_code, answer.json()) == (201, {"count": 1})
    assert answer.headers["content-type"] == "application/json"


def test_the_scheme_is_the_one_the_proxy_names(site: httpx.Client) -> None:
    for headers in ({"x-forwarded-proto": "https"}, {"forwarded": "for=1.2.3.4;proto=https"}):
        assert site.get("/hello", headers=headers).text.partition(" of ")[2].startswith("https://")


def test_repeated_headers_are_kept(site: httpx.Client) -> None:
    answer = site.get("/cookies")
    assert answer.status_code == 204
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_a_response_streams(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as answer:
        assert b"".join(answer.iter_raw()) == b"one two three"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_body_goes_through_in_both_directions(site: httpx.Client, size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    assert site.put("/echo", content=body).content == body


def test_the_response_of_another_server_passes_through(server: RunningServer, site: httpx.Client) -> None:
    for path, size in (("stream", len("one two three")), ("large", 20 << 20)):
        with site.stream("GET", "/relay", params={"url": f"{server.site_url}/{path}"}) as answer:
            assert answer.headers["x-status"] == "200"
            assert sum(map(len, answer.iter_raw())) == size


def test_what_crosses_the_limit_is_left_out(site: httpx.Client) -> None:
    assert len(site.get("/large").content) == 20 << 20
    refused = site.put("/echo", content=bytes((20 << 20) + 1))
    assert refused.status_code == 413


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/files/", "file /files/"),
        ("/files/a/b%20c", "file /files/a/b%20c"),
        ("/files/private/x", "private"),
    ],
)
def test_the_longest_prefix_wins(client: httpx.Client, path: str, text: str) -> None:
    assert client.get(path).text == text


def test_no_route_is_a_404_and_head_is_answered_like_get_without_its_body(client: httpx.Client) -> None:
    for missing in (client.get("/files"), client.post("/hello"), client.get("/")):
        assert (missing.status_code, missing.text) == (404, "No matching routes found")
    head = client.head("/hello?name=ann")
    assert head.status_code == 200 and head.content == b"" and head.headers["content-length"] != "0"


def test_user_code_answers_preflights(site: httpx.Client) -> None:
    asked = {"origin": "http://elsewhere", "access-control-request-method": "POST"}
    answer = site.options("/hello", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-methods" not in answer.headers


def test_a_foreign_authorization_fails_only_who_asks_for_the_identity(site: httpx.Client) -> None:
    assert site.get("/who").json() == {"given": None, "subject": None}
    foreign = site.get("/who", headers={"authorization": "Basic YTpi"}).json()
    assert foreign["given"] == "Basic YTpi" and foreign["error"]
    unknown = site.get("/who", headers={"authorization": "Bearer a.b.c"}).json()
    assert unknown["given"] == "Bearer a.b.c" and unknown["error"]


def test_a_failure_before_the_answer_is_a_500_that_names_it(client: httpx.Client) -> None:
    failed = client.get("/fails", headers={"convex-request-id": "0123456789abcdef"})
    assert failed.status_code == 500
    body = failed.json()
    assert body["code"] == "[Request ID: 0123456789abcdef] Server Error: Uncaught Error: no answer"
    first, frame = body["trace"].split("\n")[:2]
    assert first == "Uncaught Error: no answer"
    assert frame.startswith("    at ") and "(../convex/http.ts:" in frame
    assert client.get("/refuses").json()["data"] == {"code": "NOPE"}
    assert "HTTP actions must return a Response" in client.get("/nothing").json()["code"]


def test_a_failure_after_the_head_ends_the_response_unfinished(site: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError), site.stream("GET", "/breaks-late") as answer:
        assert answer.status_code == 200
        answer.read()
    assert site.get("/stream").text == "one two three"


def test_the_signal_aborts_when_the_client_goes(server: RunningServer, site: httpx.Client) -> None:
    with site.stream("GET", "/until-gone?name=gone") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"waiting"
        assert count(server, "gone") == 0
    until(lambda: count(server, "gone") >= 1, "the function hears of it")


def test_what_a_client_did_not_wait_for_is_in_the_logs_too(server: RunningServer, site: httpx.Client) -> None:
    request_id = "00000000000c11e7"
    asked = {"convex-request-id": request_id}
    with site.stream("GET", "/until-gone?name=gone-and-told", headers=asked) as answer:
        assert next(answer.iter_raw()) == b"waiting"

    def told() -> list[tuple[str, str, str]]:
        headers = {"Authorization": f"Convex {server.admin_key()}"}
        address = f"{server.url}/api/stream_function_logs?cursor=0"
        entries = httpx.get(address, headers=headers, timeout=30).json()["entries"]
        own = [entry for entry in entries if entry["requestId"] == request_id]
        return sorted((entry["caller"], entry["identifier"], entry["udfType"]) for entry in own)

    until(lambda: any(caller == "HttpEndpoint" for caller, _, _ in told()), "the run has ended")
    called = ("Action", "messages:increment", "Mutation")  # twice; one is not awaited, and may be lost
    assert set(told()) == {called, ("HttpEndpoint", "GET /until-gone", "HttpAction")}


def test_http_actions_are_in_the_logs(server: RunningServer, site: httpx.Client) -> None:
    site.post("/count", json={"name": "logged-http"})
    headers = {"Authorization": f"Convex {server.admin_key()}"}
    answer = httpx.get(f"{server.url}/api/stream_function_logs?cursor=0", headers=headers, timeout=30).json()
    (entry,) = [one for one in answer["entries"] if "'logged-http'" in str(one["logLines"])]
    assert entry["identifier"] == "POST /count" and entry["udfType"] == "HttpAction"
    assert entry["success"] == {"status": "201"}
