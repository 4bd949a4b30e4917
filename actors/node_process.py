"""One Node.js process that runs our runner (functions/node/runner.mjs), and the frames that pass.

It leads a process group of its own, so that what user code started ends with it. Frames travel over two
socket pairs; what user code prints past the console goes to a third, of which only the end is kept.

Promises: `end` leaves nothing of the process behind; a process whose host has gone ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from functions.node import NODE_MAJOR_VERSIONS, RUNNER
from functions.node_errors import node_not_installed, node_process_failed
from log.limits import MIB, NODE_FRAME_BYTES_MAX, NODE_HEAP_BYTES_MAX, NODE_OUTPUT_TAIL_BYTES

Message = dict[str, Any]

HEADER_BYTES = 4
_VERSION_SECONDS_MAX = 10
_OUT_OF_MEMORY = b"heap out of memory"


def find_node() -> str:
    """Where `node` is, or the specified refusal when there is none of a version we know (spec 03 5.6)."""
    path = shutil.which("node")
    if path is None:
        raise node_not_installed("There is no `node`.")
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS_MAX, check=True
        )
    except (OSError, subprocess.SubprocessError) as failure:
        raise node_not_installed(f"`{path}` cannot be asked for its version: {failure}.") from failure
    version = done.stdout.strip()
    if version.removeprefix("v").split(".")[0] not in map(str, NODE_MAJOR_VERSIONS):
        raise node_not_installed(f"`{path}` is {version}.")
    return path


def spawn(node: str, folder: Path, incoming: int, outgoing: int, output: int) -> subprocess.Popen[bytes]:
    """Start the runner for the modules in `folder`, with these descriptors as its ends of the frames and as
    its output."""
    arguments = [os.getpid(), folder, incoming, outgoing]
    try:
        return subprocess.Popen(
            [node, f"--max-old-space-size={NODE_HEAP_BYTES_MAX // MIB}", RUNNER, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(incoming, outgoing),
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
    except OSError as failure:
        raise node_process_failed(str(failure)) from failure


def _environment(folder: Path) -> dict[str, str]:
    """What the specification names, and nothing of ours: the server's environment may hold secrets."""
    kept = {name: os.environ.get(name, "") for name in ("PATH", "LANG", "NODE_PATH")}
    return {**kept, "PWD": str(folder), "TZ": "UTC"}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it has started. Its pid is its own until it has been waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def framed(message: Message) -> bytes:
    body = orjson.dumps(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def frame_length(header: bytes) -> int:
    """How long the frame is whose header this is; ValueError: no frame of ours."""
    length = int.from_bytes(header, "big")
    if length > NODE_FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {length} bytes")
    return length


def parsed(body: bytes) -> Message:
    message = orjson.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a frame that is no message")
    return message


class NodeProcess:
    """A runner and its frames, on the event loop's thread. `key` is the bundle it has loaded."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.calls_run = 0
        self._tail = b""

    async def start(self, node: str, folder: Path, environment: dict[str, str]) -> None:
        with _three_channels() as (ours, theirs):
            descriptors = [end.fileno() for end in theirs]
            self._process = await asyncio.to_thread(spawn, node, folder, *descriptors)
            _unused, self._writer = await asyncio.open_connection(sock=ours[0])
            self._reader, self._reading = await asyncio.open_connection(sock=ours[1])
            output, self._output = await asyncio.open_connection(sock=ours[2])
        self._keeping_tail = asyncio.create_task(self._keep_tail(output))
        self.send({"kind": "environment", "variables": environment})

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, message: Message) -> None:
        """Nobody waits for it to arrive: what is on its way is bounded by what a call may ask at once."""
        self._writer.write(framed(message))

    async def receive(self) -> Message | None:
        """The next message; None when there is none to come, or what came is none."""
        try:
            header = await self._reader.readexactly(HEADER_BYTES)
            return parsed(await self._reader.readexactly(frame_length(header)))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return None

    async def end(self) -> None:
        """SIGKILL to the whole group; returns when the process is gone."""
        end_group(self._process)
        await asyncio.to_thread(self._process.wait)
        for writer in (self._writer, self._reading, self._output):
            writer.close()
        await self._keeping_tail

    async def last_words(self) -> bytes:
        """The end of what it printed past the console. Only after `end`."""
        await self._keeping_tail
        return self._tail

    async def ran_out_of_memory(self) -> bool:
        """Whether its engine gave up for want of memory. Only after `end`."""
        return _OUT_OF_MEMORY in await self.last_words()

    async def _keep_tail(self, output: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await output.read(NODE_OUTPUT_TAIL_BYTES):
                self._tail = (self._tail + piece)[-NODE_OUTPUT_TAIL_BYTES:]


@contextlib.contextmanager
def _three_channels() -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """(our ends, theirs); theirs are closed here, ours only when starting fails."""
    pairs = [socket.socketpair() for _ in range(3)]
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    try:
        yield ours, theirs
    except BaseException:
        for end in ours:
            end.close()
        raise
    finally:
        for end in theirs:
            end.close()
