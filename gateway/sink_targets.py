"""Where executions go: a file of JSON lines, or an address that takes JSON arrays.

A target takes the entries of one batch at a time and says what became of them. Encoding and writing happen
on threads: a batch of long log lines must not hold up calls.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson

from gateway.function_log import Execution, completion_entry
from gateway.log_sinks import Verdict, verdict_of
from log.limits import SINK_FILE_BYTES_MAX, SINK_FILES_MAX
from log.secrets import derive

SIGNATURE_HEADER = "X-Tidelog-Signature"
SIGNATURE_PURPOSE = "log-sink"
_FUNCTION_FIELDS = (
    "udfType",
    "componentPath",
    "identifier",
    "requestId",
    "traceId",
    "executionId",
    "caller",
    "identityType",
)
"""What an entry of an audit line says of its function, under the names that executions have for it."""


class Target(Protocol):
    """One place that executions are delivered to; `name` is for the server's own log."""

    name: str

    async def deliver(self, entries: Sequence[bytes]) -> tuple[Verdict, str]:
        """What became of a batch, and why it was not delivered. Each entry is one JSON object."""


class FileTarget:
    """One object a line, appended. At a size the file becomes `<name>.1`, the older the higher."""

    def __init__(
        self, path: Path, bytes_max: int = SINK_FILE_BYTES_MAX, files_max: int = SINK_FILES_MAX
    ) -> None:
        self.name = f"file {path}"
        self._path, self._bytes_max, self._files_max = path, bytes_max, files_max

    async def deliver(self, entries: Sequence[bytes]) -> tuple[Verdict, str]:
        try:
            await asyncio.to_thread(self._write, entries)
        except OSError as failure:
            return Verdict.FAILED, str(failure)
        return Verdict.DELIVERED, ""

    def _write(self, entries: Sequence[bytes]) -> None:
        lines = b"".join(entry + b"\n" for entry in entries)
        size_bytes = self._path.stat().st_size if self._path.exists() else 0
        if size_bytes and size_bytes + len(lines) > self._bytes_max:
            self._rotate()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            whole_bytes = file.seek(0, os.SEEK_END)
            try:
                if file.write(lines) != len(lines):
                    raise OSError("the disk took a part of it only")
            except OSError:
                file.truncate(whole_bytes)  # the batch is written again, and a half line is no line
                raise

    def _rotate(self) -> None:
        for number in range(self._files_max - 2, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class WebhookTarget:
    """One POST a batch, signed, so that the receiver can tell that it comes from this deployment."""

    def __init__(self, url: str, instance_secret: bytes) -> None:
        from gateway import http_client  # with libraries that most gateways never need

        self.name = "webhook"  # without its address, which may hold a key
        self._post = http_client.post
        self._url, self._key = url, derive(instance_secret, SIGNATURE_PURPOSE)

    async def deliver(self, entries: Sequence[bytes]) -> tuple[Verdict, str]:
        body, signature = await asyncio.to_thread(self._signed, entries)
        headers = {"content-type": "application/json", SIGNATURE_HEADER: signature}
        answered = await self._post(self._url, body, headers)
        if isinstance(answered, int):
            return verdict_of(answered), f"it answered with status {answered}"
        return Verdict.FAILED, answered.why

    def _signed(self, entries: Sequence[bytes]) -> tuple[bytes, str]:
        body = b"[" + b",".join(entries) + b"]"
        return body, f"sha256={hmac.new(self._key, body, hashlib.sha256).hexdigest()}"


@dataclass(slots=True)
class EncodedBatch:
    """The entries of the executions that can be encoded, and why the others cannot."""

    executions: list[Execution] = field(default_factory=list)
    entries: list[bytes] = field(default_factory=list)
    failures: list[tuple[Execution, Exception]] = field(default_factory=list)


def encode_batch(batch: Sequence[Execution]) -> EncodedBatch:
    """One execution that no JSON can say must not take the others along."""
    encoded = EncodedBatch()
    for execution in batch:
        try:
            entries = [orjson.dumps(entry) for entry in entries_of(execution)]
        except Exception as failure:  # whatever is wrong with it: it is given up, and told
            encoded.failures.append((execution, failure))
        else:
            encoded.executions.append(execution)
            encoded.entries += entries
    return encoded


def entries_of(execution: Execution) -> Iterator[dict[str, object]]:
    """The execution as `npx convex logs --jsonl` shows it, then an entry for each audit line."""
    completion = completion_entry(execution, structured=True)
    yield completion
    for line in execution.audit_lines:
        yield {
            "topic": "audit_log",
            "timestamp": completion["timestamp"],
            "function": {name: completion[name] for name in _FUNCTION_FIELDS},
            "body": orjson.Fragment(line),
        }
