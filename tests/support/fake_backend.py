"""A whole backend in memory, for tests of the gateway: tables of one value each, functions in Python.

Keeps every version of every table, so that a query at a ts is honest. Reads are whole tables. Tests steer
it by names: `hold("m:list")` makes calls of that function wait, `hold_stream()` delays the invalidation
stream, `fail_next(error)` makes the next call raise.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from gateway.backend import (
    FunctionCall,
    FunctionError,
    FunctionOutcome,
    GatewaySettings,
    HttpActionCall,
    Invalidated,
    Invalidation,
    JobListener,
    MinuteRows,
    Registered,
    StreamListener,
    Unanswered,
)
from log.errors import BackendError
from log.identity import Identity

from .fake_http_run import FakeHttpRun

FIRST_TS = 1_700_000_000_000_000_000
SETTINGS = GatewaySettings(instance_name="test-instance", instance_secret=b"s" * 32, server_version="1.2.3")


class UserError(Exception):
    """What a function throws; `data` makes it a ConvexError."""

    def __init__(self, message: str, data: bytes | None = None) -> None:
        super().__init__(message, data)
        self.message, self.data = message, data


@dataclass
class Context:
    """What a function may use. `writes` stay empty in queries."""

    backend: FakeBackend
    ts: int
    identity: Identity
    journal: str | None = None
    reads: set[str] = field(default_factory=set)
    writes: dict[str, Any] = field(default_factory=dict)
    log_lines: list[str] = field(default_factory=list)
    audit_lines: list[bytes] = field(default_factory=list)
    observed_identity: bool = False
    observed_time: bool = False

    def get(self, table: str, default: Any = None) -> Any:
        self.reads.add(table)
        if table in self.writes:
            return self.writes[table]
        return self.backend.value_at(table, self.ts, default)

    def put(self, table: str, value: Any) -> None:
        self.writes[table] = value

    def user(self) -> Any:
        self.observed_identity = True
        attributes = self.identity.attributes_json
        return None if attributes is None else orjson.loads(attributes)


Function = Callable[[Context, dict[str, Any]], Any]


def _list(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.log_lines.append("[LOG] 'listing'")
    return ctx.get("messages", [])


def _audit(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.audit_lines.append(orjson.dumps({"who": ctx.user(), **args}))
    return ctx.get("messages", [])


def _send(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.put("messages", [*ctx.get("messages", []), args.get("body")])


def _count(ctx: Context, args: dict[str, Any]) -> Any:
    return ctx.get(args.get("name", "counter"), 0.0)


def _increment(ctx: Context, args: dict[str, Any]) -> Any:
    name = args.get("name", "counter")
    ctx.put(name, ctx.get(name, 0.0) + 1)
    return ctx.writes[name]


def _put(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.put(args["table"], args["value"])


def _strict(ctx: Context, args: dict[str, Any]) -> Any:
    if ctx.get("broken", False):
        data = ctx.get("data", ...)
        raise UserError("Uncaught Error: broken\n", None if data is ... else orjson.dumps(data))
    return "fine"


def _fail(ctx: Context, args: dict[str, Any]) -> Any:
    raise UserError("Uncaught Error: no\n    at handler (../convex/m.ts:3:8)\n")


def _who(ctx: Context, args: dict[str, Any]) -> Any:
    return ctx.user()


def _clock(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.observed_time = True
    return 1.5


def _page(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.journal = ctx.journal or "end-of-page"
    return ctx.get("messages", [])


def _logs(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.log_lines.append(f"[LOG] {ctx.get('noise', 0)}")
    return "constant"


def _echo(ctx: Context, args: dict[str, Any]) -> Any:
    ctx.log_lines.append("[LOG] 'thinking'")
    return args


def _providers(ctx: Context, args: dict[str, Any]) -> Any:
    return ctx.get("auth", [])


def _revoked(ctx: Context, args: dict[str, Any]) -> Any:
    return ctx.get("revoked", {"keyIds": [], "issuedUntil": -1.0})


FUNCTIONS: dict[str, tuple[str, Function]] = {
    "_system/tidelog/adminKeys.js:revoked": ("Query", _revoked),
    "_system/frontend/listAuthProviders.js:default": ("Query", _providers),
    "m.js:list": ("Query", _list),
    "m.js:audit": ("Query", _audit),
    "m.js:count": ("Query", _count),
    "m.js:strict": ("Query", _strict),
    "m.js:fail": ("Query", _fail),
    "m.js:who": ("Query", _who),
    "m.js:clock": ("Query", _clock),
    "m.js:page": ("Query", _page),
    "m.js:logs": ("Query", _logs),
    "m.js:send": ("Mutation", _send),
    "m.js:increment": ("Mutation", _increment),
    "m.js:put": ("Mutation", _put),
    "m.js:auditAndSend": ("Mutation", lambda ctx, args: (_audit(ctx, args), _send(ctx, args))[1]),
    "m.js:touch": ("Mutation", lambda ctx, args: None),
    "m.js:failing": ("Mutation", _fail),
    "m.js:echo": ("Action", _echo),
    "m.js:failingAction": ("Action", _fail),
}


class FakeBackend:
    """Implements `gateway.backend.Backend`. `runs` counts executions by path."""

    def __init__(self) -> None:
        self.published_ts = FIRST_TS
        self.covered_ts = FIRST_TS
        self.has_executors, self.is_core_silent = True, False
        self.runs: Counter[str] = Counter()
        self.calls: list[FunctionCall] = []
        self.registered: dict[int, set[str]] = {}
        self.facts: list[dict[str, Any]] = []
        self.rows: dict[tuple[str, str, str], list[MinuteRows]] = {}  # by metric, component, table
        self.admin_calls: list[tuple[str, bytes, Identity]] = []
        self.admin_answers: dict[str, list[bytes]] = {}
        self._versions: dict[str, list[tuple[int, Any]]] = {}
        self._listener: StreamListener = lambda ts, invalidations: None
        self._undelivered: list[Invalidation] = []
        self._stream_held = False
        self._covered = asyncio.Condition()
        self._holds: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}
        self._failures: list[BackendError] = []
        self._recorded: dict[tuple[str, int], FunctionOutcome] = {}

    # --- steering -----------------------------------------------------------------------------------

    def hold(self, path: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Calls of `path` wait; returns (reached, released)."""
        self._reached[path], self._holds[path] = asyncio.Event(), asyncio.Event()
        return self._reached[path], self._holds[path]

    def fail_next(self, error: BackendError) -> None:
        self._failures.append(error)

    def hold_stream(self) -> None:
        self._stream_held = True

    async def release_stream(self) -> None:
        self._stream_held = False
        await self._deliver()

    async def write(self, **tables: Any) -> int:
        """A commit from elsewhere."""
        return await self._commit(tables)

    def value_at(self, table: str, ts: int, default: Any) -> Any:
        found = default
        for version_ts, value in self._versions.get(table, []):
            if version_ts <= ts:
                found = value
        return found

    # --- the port -----------------------------------------------------------------------------------

    async def latest_ts(self) -> int:
        if self.is_core_silent:
            await asyncio.Event().wait()
        return self.published_ts

    async def wait_covered(self, ts: int) -> None:
        async with self._covered:
            await self._covered.wait_for(lambda: self.covered_ts >= ts)

    async def run_query(self, call: FunctionCall, ts: int | None, journal: str | None) -> FunctionOutcome:
        await self._enter(call)
        return self._run(call, self.published_ts if ts is None else ts, "Query", journal)[0]

    async def run_mutation(self, call: FunctionCall) -> FunctionOutcome:
        await self._enter(call)
        identifier = (call.session_id or "", call.session_request or 0)
        if call.session_id is not None and identifier in self._recorded:
            return self._recorded[identifier]
        outcome, context = self._run(call, self.published_ts, "Mutation", None)
        if outcome.error is not None:
            return outcome
        ts = await self._commit(context.writes)
        outcome = replace(outcome, ts=ts, reads=b"", observed_identity=True, observed_time=True)
        if call.session_id is not None:
            self._recorded[identifier] = outcome
        return outcome

    async def run_action(self, call: FunctionCall) -> FunctionOutcome:
        await self._enter(call)
        return self._run(call, self.published_ts, "Action", None)[0]

    async def begin_http_action(self, call: HttpActionCall) -> FakeHttpRun:
        return FakeHttpRun((Unanswered.NO_MODULE, None))

    async def run_any(self, call: FunctionCall) -> FunctionOutcome:
        udf_type = FUNCTIONS.get(call.path, ("", None))[0]
        if udf_type == "Mutation":
            return await self.run_mutation(call)
        await self._enter(call)
        return self._run(call, self.published_ts, udf_type, None)[0]

    async def run_inline(self, call: FunctionCall, source: str, component_id: str) -> FunctionOutcome:
        """The source names the function to run."""
        await self._enter(call)
        return self._run(replace(call, path=source), self.published_ts, "Query", None)[0]

    async def admin(self, operation: str, body: bytes, identity: Identity) -> bytes:
        self.admin_calls.append((operation, body, identity))
        answers = self.admin_answers.get(operation, [b"{}"])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def register(self, key: int, reads: bytes, ts: int) -> Registered | Invalidated:
        await asyncio.sleep(0)  # a hop: invalidations may overtake the answer
        tables: set[str] = set(orjson.loads(reads))
        written = [at for table in tables for at, _ in self._versions.get(table, []) if at > ts]
        if written:
            return Invalidated(min(written))
        self.registered[key] = tables
        return Registered(self.published_ts)

    def unregister(self, keys: Sequence[int]) -> None:
        for key in keys:
            self.registered.pop(key, None)

    def listen(self, listener: StreamListener) -> None:
        self._listener = listener

    def listen_to_jobs(self, listener: JobListener) -> None:
        self._job_listener = listener

    async def table_rows(self, metric: str, component: str, table: str) -> Sequence[MinuteRows]:
        return self.rows.get((metric, component, table), ())

    async def actor_facts(self) -> list[dict[str, Any]]:
        return self.facts

    # --- inside -------------------------------------------------------------------------------------

    async def _enter(self, call: FunctionCall) -> None:
        if call.path in self._holds:
            self._reached[call.path].set()
            await self._holds[call.path].wait()
        else:
            await asyncio.sleep(0)
        if self._failures:
            raise self._failures.pop(0)

    def _run(
        self, call: FunctionCall, ts: int, udf_type: str, journal: str | None
    ) -> tuple[FunctionOutcome, Context]:
        self.runs[call.path] += 1
        self.calls.append(call)
        context = Context(self, ts, call.identity, journal)
        value, error = None, None
        try:
            value = orjson.dumps(self._call(call, udf_type, context))
        except UserError as thrown:
            error = FunctionError(thrown.message, thrown.data)
        outcome = FunctionOutcome(
            value=value,
            error=error,
            log_lines=orjson.dumps(context.log_lines),
            ts=ts,
            journal=context.journal,
            reads=orjson.dumps(sorted(context.reads)),
            observed_identity=context.observed_identity,
            observed_time=context.observed_time,
            udf_type=udf_type,
            audit_lines=tuple(context.audit_lines) if error is None else (),
        )
        return outcome, context

    def _call(self, call: FunctionCall, udf_type: str, context: Context) -> Any:
        found = FUNCTIONS.get(call.path)
        if found is None or found[0] != udf_type:
            display = call.path.replace(".js", "")
            raise UserError(f"Could not find public function for '{display}'.")
        args = orjson.loads(call.args)
        return found[1](context, args[0] if args else {})

    async def _commit(self, writes: dict[str, Any]) -> int:
        ts = self.published_ts + 1_000
        for table, value in writes.items():
            self._versions.setdefault(table, []).append((ts, value))
        self.published_ts = ts
        for key, tables in list(self.registered.items()):
            if not tables.isdisjoint(writes):
                del self.registered[key]
                self._undelivered.append(Invalidation(key, ts, "written"))
        await self._deliver()
        return ts

    async def _deliver(self) -> None:
        if self._stream_held:
            return
        self.covered_ts = self.published_ts
        invalidations, self._undelivered = self._undelivered, []
        self._listener(self.covered_ts, invalidations)
        async with self._covered:
            self._covered.notify_all()
