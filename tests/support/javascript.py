"""The JavaScript engine for tests: built when it is not, with apps bundled as the CLI bundles them.

Node is used only to bundle (`tests/npm`); what runs is our own engine.
"""

from __future__ import annotations

import fcntl
import functools
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from functions.engine.build import build
from functions.isolate import AnswerError, CallRequest, ImageRequest, Settled
from functions.quickjs import Engine, JavaScriptIsolate

TESTS = Path(__file__).parent.parent
NPM = TESTS / "npm"
CACHE = Path(tempfile.gettempdir()) / "tidelog-test-engine"
NOW_MS = 1_700_000_000_123.0


@functools.cache
def engine() -> Engine:
    """One engine for the whole test process."""
    build()
    return Engine(CACHE)


@functools.cache
def bundle(app: str) -> dict[str, bytes]:
    """The modules of `tests/functions/apps/APP` as a push would carry them."""
    with open(NPM / "package-lock.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (NPM / "node_modules" / "convex").exists():
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NPM, check=True, capture_output=True)
    folder = TESTS / "functions" / "apps" / app
    run = subprocess.run(["node", NPM / "bundle.mjs", folder], cwd=NPM, check=True, capture_output=True)
    return {path: text.encode() for path, text in json.loads(run.stdout).items()}


def image_request(modules: dict[str, bytes], **changes: Any) -> ImageRequest:
    """The functions of a bundle: every module but chunks and the files that are evaluated alone."""
    alone = ("schema.js", "auth.config.js", "convex.config.js")
    entries = tuple(path for path in modules if not path.startswith("_deps/") and path not in alone)
    return ImageRequest(modules, entries, **changes)


@dataclass
class RecordingHost:
    """Answers system calls from a table and remembers everything it was asked."""

    answers: dict[str, bytes | Exception | None] = field(default_factory=dict)
    calls: list[tuple[str, bytes]] = field(default_factory=list)
    waiting: list[tuple[int, str, bytes]] = field(default_factory=list)
    lines: list[tuple[str, list[str]]] = field(default_factory=list)
    observations: list[str] = field(default_factory=list)

    def syscall(self, name: str, args: bytes) -> bytes:
        return self._answer(name, args) or b"null"

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        answer = self._answer(name, args)
        if answer is None:
            self.waiting.append((call_id, name, args))
        return answer

    def _answer(self, name: str, args: bytes) -> bytes | None:
        self.calls.append((name, args))
        answer = self.answers.get(name, b"null")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def console(self, level: str, messages: list[str]) -> None:
        self.lines.append((level, messages))

    def observed(self, what: str) -> None:
        self.observations.append(what)


FUNCTION = """
const register = (kind, handler) => Object.assign(() => {}, {
  [`is${kind}`]: true, isPublic: true,
  [`invoke${kind}`]: async (...args) => JSON.stringify((await handler(...args)) ?? null),
});
const query = (handler) => register("Query", handler);
const mutation = (handler) => register("Mutation", handler);
const action = (handler) => register("Action", (_requestId, args) => handler(args));
"""


class Run:
    """One small module in one isolate: `Run("export const f = query(() => 1)").call("f")`."""

    def __init__(self, source: str, image_facts: dict[str, Any] | None = None, **modules: str) -> None:
        sources = {"m.js": (FUNCTION + source).encode()}
        sources |= {name.replace("__", "/") + ".js": text.encode() for name, text in modules.items()}
        self.image = engine().build_image(ImageRequest(sources, ("m.js",), **(image_facts or {})))
        self.host = RecordingHost()
        self.isolate: JavaScriptIsolate = engine().isolate()

    def call(self, name: str, kind: str = "query", args: bytes = b"[{}]", **request: Any) -> Settled | None:
        facts: dict[str, Any] = {"now_ms": NOW_MS, **request}
        call = CallRequest("call", ("m.js", name, kind), args, **facts)
        return self.isolate.start(self.image, call, self.host)

    def deliver(self, call_id: int, answer: bytes | AnswerError) -> Settled | None:
        return self.isolate.deliver(call_id, answer)
