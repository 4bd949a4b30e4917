"""A proxy in front of a server that stops at one request until a test has done something meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_ANSWER_SECONDS_MAX = 120
_KEPT = ("content-type", "content-encoding", "authorization", "convex-client")


@contextlib.contextmanager
def held_proxy(url: str, path: str, meanwhile: Callable[[], None]) -> Iterator[str]:
    """The address of the proxy. `meanwhile` is run once, BEFORE the first request for `path` goes on."""
    pending = [meanwhile]
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            with lock:
                held = pending.pop() if self.path == path and pending else None
            if held is not None:
                held()
            headers = {name: value for name, value in self.headers.items() if name.lower() in _KEPT}
            answer = httpx.request(
                self.command, url + self.path, content=body, headers=headers, timeout=_ANSWER_SECONDS_MAX
            )
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = _pass

        def log_message(self, *_arguments: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    assert not pending, f"nobody asked for {path}"
