"""Clients of the simulated world. Nobody of them is told of the faults; they do what npm's clients do.

`SyncClient` speaks the sync protocol in its real frames: it subscribes, mutates, and after a lost connection
comes back with the same session, the newest ts it has seen, all its queries, and every mutation that was not
answered. `PlainCaller` asks for mutations without a session, as HTTP callers do: an outcome may stay unknown.
The `Operator` changes the catalog.
"""

from __future__ import annotations

import asyncio
import base64
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.backend import FunctionCall
from log.errors import BackendError
from log.identity import UNKNOWN

from .history import Answered, AtRest, Connected, Event, Sent, Shown, Transitioned, Unknown
from .hosts import ClientConnection, ExecutorHost, GatewayHost
from .model import COUNTERS, LISTS, RELEASE_PATH, WORDS
from .processes import Process

_RECONNECT_SECONDS_MAX = 0.3
_IDLE_SECONDS_MAX = 0.3
_REQUESTS_OPEN_MAX = 3

Record = Callable[[Event], None]
FindGateway = Callable[[], GatewayHost | None]


@dataclass(frozen=True, slots=True)
class Habits:
    """How the clients of one world behave: what they touch, how long they think."""

    counters: Sequence[str]
    kinds: Sequence[str]
    think_seconds_max: float


_OFTEN = ("add", "add", "transfer", "transfer", "append")
QUIET = Habits(COUNTERS, (*_OFTEN, "demote", "append", "drop", "tag", "retag"), 0.12)
CROWDED = Habits(COUNTERS[:2], (*_OFTEN, "add", "transfer", "transfer", "tag"), 0.02)


def random_mutation(chance: random.Random, habits: Habits, operation: str) -> tuple[str, dict[str, Any]]:
    """A path and arguments; few names, so that collisions are the rule."""
    match chance.choice(habits.kinds):
        case "add":
            name = "add"
            args: dict[str, Any] = {"name": habits.counters[0], "by": float(chance.randrange(1, 4))}
        case "transfer":
            giver, taker = chance.sample(habits.counters, 2)
            name, args = "transfer", {"giver": giver, "taker": taker, "amount": float(chance.randrange(1, 6))}
        case "demote":
            name, args = "demote", {"by": float(chance.randrange(1, 6))}
        case "tag" | "retag" as name:
            args = {"word": chance.choice(WORDS), "to": chance.choice(WORDS)}
        case kind:
            name, args = kind, {"list": chance.choice(LISTS)}
    return f"app.js:{name}", {**args, "operation": operation}


def random_query(chance: random.Random) -> tuple[str, dict[str, Any]]:
    match chance.choice(("count", "count", "counts", "operations", "tagged", "leader", "release")):
        case "count":
            return "app.js:count", {"name": chance.choice(COUNTERS)}
        case "operations":
            return "app.js:operations", {"list": chance.choice(LISTS)}
        case "tagged":
            return "app.js:tagged", {"word": chance.choice(WORDS)}
        case kind:
            return f"app.js:{kind}", {}


class SyncClient:
    """One session. `mutations_left` is what it still wants to do; at rest it wants nothing."""

    def __init__(
        self,
        name: str,
        process: Process,
        chance: random.Random,
        find: FindGateway,
        record: Record,
        habits: Habits,
        mutations: int,
    ) -> None:
        self._name, self._process, self._chance = name, process, chance
        self._find, self._record, self._habits = find, record, habits
        self._mutations_left = mutations
        self._session_id = str(uuid.UUID(int=chance.getrandbits(128)))
        self._connections = 0
        self._connection: ClientConnection | None = None
        self._observed_ts = 0
        self._promised_ts = 0
        self._next_request, self._next_query = 0, 0
        self._open: dict[int, tuple[str, str, dict[str, Any]]] = {}  # request -> operation, path, args
        self._queries: dict[int, tuple[str, bytes]] = {}
        self._shown: dict[int, bytes | None] = {}
        self._query_set, self._version = 0, (0, 0)

    @property
    def is_at_rest(self) -> bool:
        return (
            self._mutations_left == 0
            and not self._open
            and self._connection is not None
            and self._version[0] == self._query_set
            and self._version[1] >= self._promised_ts
        )

    async def run(self) -> None:
        """Live: connect when cut off, mutate, subscribe and unsubscribe, with pauses to think."""
        chance = self._chance
        for _ in range(chance.randrange(1, 3)):
            self._add_query()
        while True:
            if self._connection is None:
                await asyncio.sleep(chance.random() * _RECONNECT_SECONDS_MAX)
                self._connect()
            await asyncio.sleep(chance.random() * self._think_seconds_max())
            if self._connection is None:
                continue
            if self._mutations_left and len(self._open) < _REQUESTS_OPEN_MAX:
                self._mutate()
            if chance.random() < 0.1 and self._mutations_left:
                self._modify_query_set()
            if chance.random() < 0.05:
                self._connection.stop_reading(chance.random() * 0.2)

    def _think_seconds_max(self) -> float:
        """Who can do nothing more now looks only now and then whether that has changed."""
        wants_more = self._mutations_left and len(self._open) < _REQUESTS_OPEN_MAX
        return self._habits.think_seconds_max if wants_more else _IDLE_SECONDS_MAX

    # --- out ----------------------------------------------------------------------------------------

    def _connect(self) -> None:
        gateway = self._find()
        if gateway is None:
            return
        self._connections += 1
        self._record(Connected(self._name, self._connections))
        number = self._connections
        self._connection = ClientConnection(
            gateway, self._process, lambda text: self._received(number, text), lambda: self._lost(number)
        )
        self._version, self._query_set, self._shown, self._promised_ts = (0, 0), 0, {}, 0
        connect: dict[str, Any] = {
            "type": "Connect",
            "sessionId": self._session_id,
            "connectionCount": self._connections - 1,
            "lastCloseReason": "unknown",
        }
        if self._observed_ts:
            connect["maxObservedTimestamp"] = _ts_text(self._observed_ts)
        self._send(connect)
        self._send_query_set([self._addition(query_id) for query_id in self._queries])
        for request_id in self._open:
            self._send_mutation(request_id)

    def _mutate(self) -> None:
        self._mutations_left -= 1
        request_id, self._next_request = self._next_request, self._next_request + 1
        operation = f"{self._name}-{request_id}"
        path, args = random_mutation(self._chance, self._habits, operation)
        self._open[request_id] = (operation, path, args)
        self._record(Sent(self._name, operation, path, has_session=True))
        self._send_mutation(request_id)

    def _send_mutation(self, request_id: int) -> None:
        _, path, args = self._open[request_id]
        self._send({"type": "Mutation", "requestId": request_id, "udfPath": path, "args": [args]})

    def _modify_query_set(self) -> None:
        if len(self._queries) > 1 and self._chance.random() < 0.4:
            query_id = self._chance.choice(list(self._queries))
            del self._queries[query_id]
            self._send_query_set([{"type": "Remove", "queryId": query_id}])
        elif len(self._queries) < 4:
            self._send_query_set([self._addition(self._add_query())])

    def _add_query(self) -> int:
        query_id, self._next_query = self._next_query, self._next_query + 1
        path, args = random_query(self._chance)
        self._queries[query_id] = path, orjson.dumps([args])
        return query_id

    def _addition(self, query_id: int) -> dict[str, Any]:
        path, args = self._queries[query_id]
        return {"type": "Add", "queryId": query_id, "udfPath": path, "args": orjson.loads(args)}

    def _send_query_set(self, modifications: list[dict[str, Any]]) -> None:
        base, self._query_set = self._query_set, self._query_set + 1
        versions = {"baseVersion": base, "newVersion": self._query_set}
        self._send({"type": "ModifyQuerySet", **versions, "modifications": modifications})

    def _send(self, message: dict[str, Any]) -> None:
        if self._connection is not None:
            self._connection.send(orjson.dumps(message).decode())

    # --- in -----------------------------------------------------------------------------------------

    def _received(self, connection: int, text: bytes) -> None:
        if connection != self._connections:
            return
        message = orjson.loads(text)
        match message["type"]:
            case "Transition":
                self._transitioned(message)
            case "MutationResponse":
                self._answered(message)

    def _lost(self, connection: int) -> None:
        if connection == self._connections:
            self._connection = None

    def _transitioned(self, message: dict[str, Any]) -> None:
        start, end = _version(message["startVersion"]), _version(message["endVersion"])
        for modification in message["modifications"]:
            query_id = modification["queryId"]
            match modification["type"]:
                case "QueryUpdated":
                    self._shown[query_id] = orjson.dumps(modification["value"])
                case "QueryFailed":
                    self._shown[query_id] = None
                case "QueryRemoved":
                    self._shown.pop(query_id, None)
        self._version = end
        self._observed_ts = max(self._observed_ts, end[1])
        self._record(Transitioned(self._name, self._connections, start, end, self._what_is_shown()))

    def _answered(self, message: dict[str, Any]) -> None:
        found = self._open.pop(message["requestId"], None)
        if found is None:
            return
        ts = _ts(message["ts"]) if message["success"] else None
        if ts is not None:
            self._promised_ts = max(self._promised_ts, ts)
        self._record(Answered(self._name, found[0], ts, message["result"]))

    def _what_is_shown(self) -> Shown:
        return tuple(
            (*self._queries[query_id], value)
            for query_id, value in sorted(self._shown.items())
            if query_id in self._queries  # else its removal is on the way
        )

    def at_rest(self) -> AtRest:
        return AtRest(
            client=self._name,
            connection=self._connections,
            is_connected=self._connection is not None,
            query_sets=(self._version[0], self._query_set),
            ts=self._version[1],
            waiting=tuple(operation for operation, _, _ in self._open.values()),
            shown=self._what_is_shown(),
        )


class PlainCaller:
    """Calls mutations one after another, without a session. Its connection is that of its gateway."""

    def __init__(
        self,
        name: str,
        process: Process,
        chance: random.Random,
        find: FindGateway,
        record: Record,
        habits: Habits,
        mutations: int,
    ) -> None:
        self._name, self._process, self._chance = name, process, chance
        self._find, self._record, self._habits = find, record, habits
        self._mutations_left = mutations
        self._calls = 0
        self._waiting: str | None = None

    @property
    def is_at_rest(self) -> bool:
        return self._mutations_left == 0 and self._waiting is None

    def want_more(self) -> None:
        self._mutations_left += 1

    async def run(self) -> None:
        while True:
            wants_more = self._mutations_left > 0
            seconds_max = self._habits.think_seconds_max if wants_more else _IDLE_SECONDS_MAX
            await asyncio.sleep(self._chance.random() * seconds_max)
            gateway = self._find()
            if wants_more and gateway is not None:
                self._mutations_left -= 1
                self._calls += 1
                await self._call(gateway, f"{self._name}-{self._calls}")

    async def _call(self, gateway: GatewayHost, operation: str) -> None:
        path, args = random_mutation(self._chance, self._habits, operation)
        self._record(Sent(self._name, operation, path, has_session=False))
        self._waiting = operation
        call = FunctionCall(path, orjson.dumps([args], option=orjson.OPT_SORT_KEYS), UNKNOWN)
        running = gateway.process.spawn(gateway.backend.run_mutation(call))
        await asyncio.wait([running])
        self._waiting = None
        if running.cancelled():
            self._record(Unknown(self._name, operation))
            return
        failure = running.exception()
        if isinstance(failure, BackendError):
            self._record(Unknown(self._name, operation))
        elif failure is None:
            outcome = running.result()
            if outcome.error is not None:
                self._record(Answered(self._name, operation, None, outcome.error.message))
            else:
                value = orjson.loads(outcome.value or b"null")
                self._record(Answered(self._name, operation, outcome.ts, value))
        else:
            raise failure

    def at_rest(self) -> AtRest:
        waiting = (self._waiting,) if self._waiting is not None else ()
        return AtRest(self._name, 0, True, (0, 0), 0, waiting, ())


class Operator:
    """Sets an environment variable once or twice: a commit that changes the catalog under everybody."""

    def __init__(
        self, chance: random.Random, find: Callable[[], ExecutorHost | None], record: Record
    ) -> None:
        self._chance, self._find, self._record = chance, find, record

    async def run(self) -> None:
        for number in range(self._chance.randrange(3)):
            await asyncio.sleep(self._chance.random())
            executor = self._find()
            if executor is not None:
                operation = f"release-{number}"
                self._record(Sent("operator", operation, RELEASE_PATH, has_session=False))
                call_id = self._chance.randbytes(16)
                await asyncio.wait([executor.process.spawn(executor.release(operation, call_id))])


def _version(version: dict[str, Any]) -> tuple[int, int]:
    return version["querySet"], _ts(version["ts"])


def _ts(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "little")


def _ts_text(ts: int) -> str:
    return base64.b64encode(ts.to_bytes(8, "little")).decode()
