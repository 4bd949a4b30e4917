"""Bodies of requests for HTTP actions come as streams: on the wire, to a real app (spec 01 2.7, 03 5.4)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from log.limits import HTTP_ACTION_REQUEST_AHEAD_BYTES_MAX, HTTP_ACTION_REQUEST_BYTES_MAX

from ..support.app_calls import PeakMemory, count, until
from ..support.server import RunningServer

pytestmark = pytest.mark.usefixtures("app")
SECONDS_MAX = 60
PIECE = bytes(256 * 1024)
TOO_LARGE = f"The request body is larger than {HTTP_ACTION_REQUEST_BYTES_MAX} bytes."


class Upload(HTTPConnection):
    """A request whose body is sent when the test says so."""

    def begin(self, method: str, path: str, **headers: str) -> None:
        self.putrequest(method, path)
        for name, value in (headers or {"transfer-encoding": "chunked"}).items():
            self.putheader(name, value)
        self.endheaders()

    def chunk(self, piece: bytes) -> None:
        """b"" is the end of the body."""
        self.send(b"%x\r\n%b\r\n" % (len(piece), piece))


@pytest.fixture
def upload(server: RunningServer) -> Iterator[Upload]:
    connection = Upload("127.0.0.1", server.site_port, timeout=SECONDS_MAX)
    yield connection
    connection.close()


@pytest.fixture
def site(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.site_url, timeout=SECONDS_MAX) as opened:
        yield opened


def test_each_piece_is_answered_before_the_next_is_sent(upload: Upload) -> None:
    upload.begin("PUT", "/echo")
    answer = upload.getresponse()
    assert answer.status == 200, "the head is answered before any body was sent"
    for piece in (b"one", b"two", b"three"):
        upload.chunk(piece)
        assert answer.read1() == piece
    upload.chunk(b"")
    assert answer.read() == b""


def test_nineteen_mebibytes_come_back_as_they_were_sent(upload: Upload) -> None:
    body = random.Random(19).randbytes(19 << 20)
    upload.begin("PUT", "/echo", **{"content-length": str(len(body))})
    sending = threading.Thread(target=upload.send, args=(body,))  # whoever only sends fills both ways
    sending.start()
    assert upload.getresponse().read() == body
    sending.join()


def test_a_body_that_is_never_read_keeps_neither_the_answer_nor_the_connection(upload: Upload) -> None:
    upload.begin("POST", "/unread")
    first = upload.getresponse()
    assert first.read() == b"unread", "while the body has not even begun"
    for _ in range(4 * HTTP_ACTION_REQUEST_AHEAD_BYTES_MAX // len(PIECE)):
        upload.chunk(PIECE)
    upload.chunk(b"")
    upload.begin("POST", "/unread", **{"content-length": "0"})
    assert upload.getresponse().read() == b"unread"


def test_who_sends_what_is_not_read_yet_is_made_to_wait_and_no_process_holds_it(
    server: RunningServer, upload: Upload
) -> None:
    size = 19 << 20  # more than sockets hold on their way
    upload.begin("POST", "/until-gone?name=waiting", **{"content-length": str(size)})
    assert upload.getresponse().read1() == b"waiting"
    upload.sock.settimeout(1)
    roles = ("gateway", "slow-executor")
    with contextlib.ExitStack() as watched:
        peaks = [watched.enter_context(PeakMemory(server.pid_of(role))) for role in roles]
        with pytest.raises(TimeoutError):
            upload.send(bytes(size))
    assert all(peak.growth_bytes < 8 << 20 for peak in peaks), [peak.growth_bytes for peak in peaks]


def test_large_bodies_that_nobody_reads_pass_one_after_the_other(site: httpx.Client) -> None:
    for _ in range(3):
        assert site.post("/unread", content=bytes(19 << 20)).text == "unread"


def test_an_unread_body_does_not_take_the_answer_along_when_the_connection_closes(upload: Upload) -> None:
    size = 16 << 20
    upload.begin("POST", "/unread", **{"content-length": str(size), "connection": "close"})
    upload.send(bytes(size))
    assert upload.getresponse().read() == b"unread"


def test_who_cancels_a_body_gets_no_more_of_it_and_answers(site: httpx.Client) -> None:
    answer = site.post("/first-piece", content=bytes(5 << 20))
    assert answer.status_code == 200 and 0 < len(answer.content) < 5 << 20


def test_a_client_that_goes_in_the_middle_fails_the_body_and_aborts_the_signal(
    server: RunningServer, upload: Upload
) -> None:
    upload.begin("POST", "/read?name=left")
    upload.chunk(b"begun")
    upload.close()
    until(lambda: count(server, "left: The client is no longer there.") == 1, "the body fails")
    until(lambda: count(server, "left aborted") == 1, "the signal aborts")


def test_a_client_that_goes_while_its_body_is_unread_is_noticed(
    server: RunningServer, upload: Upload
) -> None:
    upload.begin("POST", "/until-gone?name=unread")
    upload.chunk(b"read by nobody")
    assert upload.getresponse().read1() == b"waiting"
    upload.sock.shutdown(socket.SHUT_RDWR)
    until(lambda: count(server, "unread") >= 1, "the signal aborts")


def test_a_lost_executor_is_an_answer_for_who_is_still_sending(server: RunningServer, upload: Upload) -> None:
    upload.begin("POST", "/read?name=lost")
    upload.chunk(b"begun")
    until(lambda: server.ask("slow-executor", "status")["actions_running"] >= 1, "the function runs")
    pid = server.kill("slow-executor")
    answer = upload.getresponse()
    assert answer.status >= 500 and b"code" in answer.read()
    upload.chunk(b"")
    server.wait_replaced("slow-executor", pid)
    upload.begin("POST", "/read?name=after", **{"content-length": "0"})
    assert upload.getresponse().read() == b"0", "the connection goes on"


def test_a_declared_size_beyond_the_limit_is_refused_before_the_body_is_sent(upload: Upload) -> None:
    upload.begin("POST", "/read?name=declared", **{"content-length": str(HTTP_ACTION_REQUEST_BYTES_MAX + 1)})
    assert upload.getresponse().status == 413


def send_beyond_the_limit(upload: Upload) -> None:
    for _ in range(HTTP_ACTION_REQUEST_BYTES_MAX // len(PIECE)):
        upload.chunk(PIECE)
    upload.chunk(b"x")


def test_a_body_that_grows_beyond_the_limit_is_refused_and_the_function_hears_why(
    server: RunningServer, upload: Upload
) -> None:
    upload.begin("POST", "/read?name=grown")
    send_beyond_the_limit(upload)
    answer = upload.getresponse()
    assert answer.status == 413 and TOO_LARGE in answer.read().decode()
    until(lambda: count(server, f"grown: {TOO_LARGE}") == 1, "the body fails")
    upload.chunk(b"")
    upload.begin("POST", "/read?name=again", **{"content-length": "0"})
    assert upload.getresponse().read() == b"0", "the connection goes on"


def test_a_body_of_exactly_the_limit_is_read(site: httpx.Client) -> None:
    pieces = [PIECE] * (HTTP_ACTION_REQUEST_BYTES_MAX // len(PIECE))
    assert site.post("/read?name=exact", content=iter(pieces)).text == str(HTTP_ACTION_REQUEST_BYTES_MAX)


def test_a_body_that_grows_too_large_after_the_answer_only_fails_its_reader(upload: Upload) -> None:
    upload.begin("POST", "/answer-first")
    answer = upload.getresponse()
    assert answer.read1() == b"begun, "
    send_beyond_the_limit(upload)
    assert answer.read().decode() == TOO_LARGE


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_multipart_form_is_read_whole(site: httpx.Client, size: int) -> None:
    answer = site.post("/form", data={"title": "a"}, files={"upload": ("f.bin", bytes(size))})
    assert answer.json() == [["title", "a"], ["upload", size]]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_copies_of_a_request_have_the_same_body(site: httpx.Client, size: int) -> None:
    assert site.post("/shared", content=bytes(size)).json() == [size, size, True]


def test_a_body_of_a_get_request_reaches_nobody(upload: Upload) -> None:
    upload.begin("GET", "/hello?name=ann", **{"content-length": "3"})
    assert upload.getresponse().read().startswith(b"hello ann")
    upload.send(b"abc")
    upload.begin("POST", "/unread", **{"content-length": "0"})
    assert upload.getresponse().read() == b"unread"


def test_many_uploads_at_once_do_not_mix(server: RunningServer) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    bodies = [rng.randbytes(rng.choice([0, 10, 70_000, 600_000])) for _ in range(24)]

    async def echoed(client: httpx.AsyncClient, body: bytes) -> bytes:
        return (await client.put("/echo", content=body)).content

    async def whole() -> list[bytes]:
        async with httpx.AsyncClient(base_url=server.site_url, timeout=SECONDS_MAX) as client:
            return await asyncio.gather(*(echoed(client, body) for body in bodies))

    assert asyncio.run(whole()) == bodies, f"seed {seed}"
