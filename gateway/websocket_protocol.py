"""One WebSocket on uvicorn, written to without a task, a decode or an encode per message.

The only file that knows uvicorn's protocol class. It adds to it:
  - `write_text`: already encoded JSON goes to the transport at once (plain ASGI would take a coroutine, a
    str and an encode for each message and socket: measured, the larger part of a fan-out's cost);
  - `close_now`, also without a status code, which ASGI cannot say;
  - `is_writable` / `on_writable`, so that the owner keeps its own bounded queue for a slow reader;
  - `last_received`: the loop time of the newest frame of any kind, pongs included (spec 01 1.2);
  - JSON answers with the specified codes to broken handshakes (spec 01 1.1).

The application finds the protocol in `scope["extensions"][DIRECT]`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from gateway.status import http_answer
from log import errors

DIRECT = "tidelog.direct"

_TEXT = 0x81  # FIN and opcode 1
_LENGTH_16 = struct.Struct("!BBH")
_LENGTH_64 = struct.Struct("!BBQ")
_JOINED_BYTES_MAX = 64 * 1024  # beyond it a second write is cheaper than a copy


def text_frame_header(length: int) -> bytes:
    """The header of an unmasked, unfragmented text frame (RFC 6455 5.2)."""
    if length < 126:
        return bytes((_TEXT, length))
    if length < 65_536:
        return _LENGTH_16.pack(_TEXT, 126, length)
    return _LENGTH_64.pack(_TEXT, 127, length)


class DirectWebSocket(WebSocketsSansIOProtocol):
    """See the module docstring. Everything here runs on the event loop's thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_received = self.loop.time()
        self.on_writable: Callable[[], None] | None = None

    @property
    def is_writable(self) -> bool:
        return self.writable.is_set()

    @property
    def is_open(self) -> bool:
        return not (self.close_sent or self.disconnected or self.transport.is_closing())

    def write_text(self, data: bytes) -> None:
        """Send one text message now. The caller asked `is_writable` and `is_open` before."""
        header = text_frame_header(len(data))
        if len(data) <= _JOINED_BYTES_MAX:
            self.transport.write(header + data)
        else:
            self.transport.write(header)
            self.transport.write(data)

    def write_ping(self) -> None:
        self.conn.send_ping(b"")
        self.transport.write(b"".join(self.conn.data_to_send()))

    def close_now(self, code: int | None, reason: str) -> None:
        """Send a close frame; the transport follows when the peer answers, or after the grace period."""
        if not self.is_open:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code or 1005, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    # --- uvicorn's callbacks ------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        if event.headers.get("Sec-WebSocket-Version") != "13":
            self._refuse_handshake("InvalidWebSocketVersionHeader")
        elif not event.headers.get("Sec-WebSocket-Key"):
            self._refuse_handshake("WebSocketKeyHeaderMissing")
        else:
            super().handle_connect(event)
            if not self.handshake_complete:  # else the library refused it and answered
                extensions: dict[str, Any] = self.scope["extensions"]  # type: ignore[assignment]
                extensions[DIRECT] = self

    def _refuse_handshake(self, code: str) -> None:
        status, body = http_answer(errors.invalid_upgrade(code))
        response = self.conn.reject(status, body.decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        self.handshake_complete = self.close_sent = True
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.last_received = self.loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_writable is not None:
            self.on_writable()  # whoever waits for a slow reader need not wait any longer
