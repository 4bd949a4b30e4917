"""Bytes between a client and the blob store, piece by piece, both ways.

A piece is asked for when the one before it is on the disk, or on its way to the client, so that a transfer
takes constant memory. Disk and digest are other threads' work: other requests go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from gateway.http import Receive, Send
from log import errors, file_errors
from log.blob_store import BlobRange, BlobStore, BlobWriter, StoredBlob
from log.limits import BLOB_CHUNK_BYTES, TRANSFER_SILENCE_SECONDS_MAX

logger = logging.getLogger(__name__)


async def receive_blob(
    blobs: BlobStore, receive: Receive, bytes_max: int, digest: bytes | None = None
) -> StoredBlob:
    """The body of a request as a durable blob, if it has this SHA-256. Otherwise nothing is left behind."""
    writer = await asyncio.to_thread(blobs.begin)
    try:
        await _receive_body(receive, writer, bytes_max)
        if digest is not None and writer.sha256() != digest:
            raise file_errors.sha256_mismatch()
        return await asyncio.to_thread(writer.finish)
    finally:
        await asyncio.to_thread(writer.discard)


async def _receive_body(receive: Receive, writer: BlobWriter, bytes_max: int) -> None:
    pending = bytearray()
    more = True
    while more:
        async with asyncio.timeout(TRANSFER_SILENCE_SECONDS_MAX):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.client_disconnected()
        pending += message.get("body", b"")
        more = message.get("more_body", False)
        if writer.size_bytes + len(pending) > bytes_max:
            raise file_errors.file_too_large(bytes_max)
        if len(pending) >= BLOB_CHUNK_BYTES or not more:
            await asyncio.to_thread(writer.write, bytes(pending))
            pending.clear()


async def send_pieces(opened: BlobRange, length: int, receive: Receive, send: Send) -> None:
    """The body. A client that leaves or stops reading ends it, and so does a failure: the head has promised
    `length` bytes, so that a connection closed before is not taken for the whole file."""
    gone = asyncio.ensure_future(_wait_until_gone(receive))
    try:
        left = length
        while left > 0 and not gone.done():
            piece = await asyncio.to_thread(opened.next_piece)
            if not piece:
                logger.error("a blob is shorter than its row says: %d bytes are missing", left)
                return
            left -= len(piece)
            async with asyncio.timeout(TRANSFER_SILENCE_SECONDS_MAX):
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        if length == 0:
            await send({"type": "http.response.body", "body": b""})
    except (TimeoutError, OSError) as failure:
        logger.warning("a download ended early: %r", failure)
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
