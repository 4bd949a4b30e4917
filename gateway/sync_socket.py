"""The shell around one sync session: reads frames, runs functions, writes frames. Decides nothing.

One task per socket, the reader. Answers are written by whoever produces them; while the client does not
read, they wait in `_outbox`, which is bounded because the session keeps at most two Transitions unsent
and because the reader stops taking messages until the outbox is empty.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway import frames
from gateway import sync_events as ev
from gateway.admin_keys import AdminKeys
from gateway.authenticator import Authenticator
from gateway.backend import Backend, FunctionCall, FunctionError, FunctionOutcome, GatewaySettings
from gateway.client_version import ClientVersion
from gateway.frames import Authenticate, Connect, ModifyQuerySet, RunFunction
from gateway.function_log import FunctionLog
from gateway.identity import acting_as
from gateway.query_runner import QueryRunner
from gateway.sync_session import SyncSession
from log import errors
from log.errors import BackendError
from log.identity import UNKNOWN, Identity, Requester
from log.limits import CLIENT_SILENCE_SECONDS_MAX, PING_SECONDS, SOCKET_MUTATION_SECONDS_MAX
from log.secrets import AdminKey

logger = logging.getLogger(__name__)

T = TypeVar("T")

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Wire(Protocol):
    """What a session needs of a connection; `DirectWebSocket` is the one of production."""

    last_received: float
    on_writable: Callable[[], None] | None

    @property
    def is_writable(self) -> bool: ...

    @property
    def is_open(self) -> bool: ...

    def write_text(self, data: bytes) -> None: ...

    def write_ping(self) -> None: ...

    def close_now(self, code: int | None, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Checkers:
    """Who checks what a client shows."""

    tokens: Authenticator
    admin_keys: AdminKeys


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a socket's opening request shows; it counts for every call."""

    client: ClientVersion
    requester: Requester
    trace_id: str = ""


class SyncContext:
    """What all sockets of a gateway share."""

    def __init__(
        self,
        backend: Backend,
        settings: GatewaySettings,
        runner: QueryRunner,
        checkers: Checkers,
        function_log: FunctionLog,
        on_defect: Callable[[BaseException], None],
    ) -> None:
        self.backend, self.settings, self.runner = backend, settings, runner
        self.checkers, self.function_log, self.on_defect = checkers, function_log, on_defect
        self.sockets: set[SyncSocket] = set()
        # Functions outlive the socket that started them (spec 01 1.9).
        self.functions: set[asyncio.Task[Any]] = set()
        self._key_check: asyncio.Task[None] | None = None  # the last one

    def keep_running(self, function: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a function that must not end with whoever asked for it."""
        task = asyncio.get_running_loop().create_task(function)
        self.functions.add(task)
        task.add_done_callback(self.functions.discard)
        return task

    def heartbeat(self) -> None:
        """One timer for all sockets; called every GATEWAY_HEARTBEAT_SECONDS."""
        now = asyncio.get_running_loop().time()
        for socket in tuple(self.sockets):
            socket.heartbeat(now)
        if self._key_check is None or self._key_check.done():
            admins = [socket for socket in self.sockets if socket.admin_key is not None]
            self._key_check = self.keep_running(self._check_admin_keys(admins)) if admins else None

    @property
    def mutations_waiting(self) -> int:
        """Of all sockets, for an earlier one of their own."""
        return sum(socket.mutations_waiting for socket in self.sockets)

    async def _check_admin_keys(self, admins: Sequence[SyncSocket]) -> None:
        """A key that let a client in may have been revoked since."""
        for socket in admins:
            key = socket.admin_key
            try:
                is_revoked = key is not None and await self.checkers.admin_keys.is_revoked(key)
            except BackendError:
                return  # nobody can say now: the next heartbeat asks again
            if is_revoked and socket.admin_key == key:  # it may have shown another one meanwhile
                socket.send_away()

    def close_all(self) -> None:
        """A planned stop: clients come back after about a second (spec 01 1.12)."""
        for socket in tuple(self.sockets):
            socket.give_up()


def _not_permitted(udf_type: str) -> FunctionOutcome:
    """What a read-only key gets of a function that writes: refusing the message would end the socket."""
    text = errors.operation_not_permitted_text(f"RunInternal{udf_type}s")
    return FunctionOutcome(None, FunctionError(f"{text}\n"), b"[]", 0, udf_type=udf_type)


class SyncSocket:
    """One connected client. `run` returns when it is gone."""

    __slots__ = ("__weakref__", "_context", "_drained", "_events", "_feeding", "_handshake", "_last_sent",
                 "_outbox", "_session", "_wire", "admin_key")  # fmt: skip

    def __init__(self, context: SyncContext, wire: Wire, handshake: Handshake) -> None:
        self._context, self._wire, self._handshake = context, wire, handshake
        self._session = SyncSession(context.settings.redact_errors)
        self._events: deque[ev.Event] = deque()
        self._feeding = False
        self._outbox: deque[ev.Send | ev.SendTransition | ev.Close] = deque()
        self.admin_key: AdminKey | None = None  # the one it is let in with
        self._drained: asyncio.Event | None = None  # made when a reader must wait for a slow client
        self._last_sent = wire.last_received

    async def run(self, receive: Receive) -> None:
        self._wire.on_writable = self._flush
        self._context.sockets.add(self)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                await self._take(message.get("text"))
                if self._outbox:
                    await self._wait_drained()
        finally:
            self._context.sockets.discard(self)
            self._wire.on_writable = None
            self._outbox.clear()
            self._feed(ev.SocketGone())

    # --- in -----------------------------------------------------------------------------------------

    async def _take(self, text: str | None) -> None:
        """One frame, handled completely before the next is read: the order of messages is the law."""
        if text is None:
            self._feed(ev.MessageRefused(errors.socket_protocol_broken("a binary frame on the sync socket")))
            return
        try:
            message = frames.parse_client_message(text)
            match message:
                case RunFunction():
                    self._feed(ev.FunctionRequested(message))
                case ModifyQuerySet():
                    self._feed(ev.QuerySetModified(message))
                case Connect():
                    newest_ts = await self._newest_ts(message.max_observed_ts or 0)
                    self._feed(ev.ConnectReceived(message, newest_ts, int(time.time() * 1000)))
                case Authenticate():
                    # Later messages wait until the token is checked: they count under what it proves.
                    self._feed(await self._authenticate(message))
        except BackendError as refusal:
            self._feed(ev.MessageRefused(refusal))
        except Exception:
            # Nothing of the session has changed yet: only this client is concerned.
            logger.exception("a message could not be handled")
            self._feed(ev.MessageRefused(errors.internal_server_error()))

    async def _newest_ts(self, observed_ts: int) -> int:
        """Ask the log only if the client has seen more than this gateway has heard of."""
        known_ts = self._context.backend.published_ts
        return known_ts if observed_ts <= known_ts else await self._context.backend.latest_ts()

    async def _authenticate(self, message: Authenticate) -> ev.AuthenticateReceived:
        base_version = message.base_version
        self.admin_key = None
        try:
            match message.token_type:
                case "None":
                    return ev.AuthenticateReceived(base_version, UNKNOWN)
                case "User":
                    proven = await self._context.checkers.tokens.check(message.value)
                    return ev.AuthenticateReceived(base_version, proven.identity, proven.expires_seconds)
                case _:
                    return ev.AuthenticateReceived(base_version, await self._identify_admin(message))
        except BackendError as refusal:
            return ev.AuthenticateReceived(base_version, refusal)

    async def _identify_admin(self, message: Authenticate) -> Identity:
        given = await self._context.checkers.admin_keys.check(message.value)
        self.admin_key = given.key
        acting = message.acting_as
        return given.identity if acting is None else acting_as(given.identity, acting)

    @property
    def mutations_waiting(self) -> int:
        return self._session.mutations_waiting

    def send_away(self) -> None:
        """Its admin key counts no longer."""
        self._feed(ev.MessageRefused(errors.bad_admin_key()))

    def result_invalidated(self) -> None:
        """A result this session shows was overwritten (`Holder`)."""
        self._feed(ev.ResultInvalidated())

    def give_up(self) -> None:
        self._feed(ev.MessageRefused(errors.internal_server_error()))

    def heartbeat(self, now: float) -> None:
        """Ping the silent, give up the gone (spec 01 1.2)."""
        silence = now - self._wire.last_received
        if silence > CLIENT_SILENCE_SECONDS_MAX:
            self._feed(ev.MessageRefused(errors.client_disconnected()))
            return
        if not (self._wire.is_open and self._wire.is_writable):
            return
        if silence > PING_SECONDS:
            self._wire.write_ping()
        if now - self._last_sent >= PING_SECONDS:
            self._write(frames.PING)

    # --- the machine --------------------------------------------------------------------------------

    def _feed(self, event: ev.Event) -> None:
        """Give the session an event and perform what it asks; events raised meanwhile queue behind."""
        self._events.append(event)
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._events:
                for effect in self._session.receive(self._events.popleft(), time.time()):
                    self._perform(effect)
        except Exception as defect:
            self._context.on_defect(defect)
        finally:
            self._feeding = False

    def _perform(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Send() | ev.SendTransition() | ev.Close():
                self._outbox.append(effect)
                self._flush()
            case ev.StartFunction():
                self._context.keep_running(self._run_function(effect))
            case ev.ComputeTransition():
                self._context.runner.evaluate(
                    effect,
                    self._handshake.client.header,
                    self,
                    lambda ts, results: self._feed(ev.TransitionComputed(ts, results)),
                    lambda error: self._feed(ev.ComputationFailed(error)),
                    self._handshake.trace_id,
                )
            case ev.ReleaseResults(results):
                self._context.runner.release(results, self)
            case ev.RetryLater(seconds):
                asyncio.get_running_loop().call_later(seconds, self._feed, ev.RetryDue())

    async def _run_function(self, effect: ev.StartFunction) -> None:
        message, backend = effect.message, self._context.backend
        call = FunctionCall(
            path=message.path,
            args=message.args,
            identity=effect.identity,
            component=message.component,
            request_id=effect.log_request_id,
            caller="SyncWorker",
            client_version=self._handshake.client.header,
            session_id=effect.session_id if message.is_mutation else None,
            session_request=message.request_id if message.is_mutation and effect.session_id else None,
            trace_id=self._handshake.trace_id,
            requester=self._handshake.requester,
        )
        run = backend.run_mutation if message.is_mutation else backend.run_action
        answer: FunctionOutcome | BackendError
        try:
            # A mutation has 60 s, its time in the queue not counted (spec 01 1.8); actions bound themselves.
            udf_type = "Mutation" if message.is_mutation else "Action"
            async with asyncio.timeout(SOCKET_MUTATION_SECONDS_MAX if message.is_mutation else None):
                if call.identity.may_write:
                    counted = self._context.function_log.usage.concurrency.counted
                    answer = await counted(udf_type, call.path, run(call))
                else:
                    answer = _not_permitted(udf_type)
            self._context.function_log.add(call, answer, udf_type, time.time())
        except BackendError as refusal:
            answer = refusal
        except Exception:
            logger.exception("%s %s neither answered nor refused", call.path, call.request_id)
            answer = errors.internal_server_error()
        if message.is_mutation:
            self._feed(ev.MutationFinished(answer))
        else:
            self._feed(ev.ActionFinished(message.request_id, answer))

    # --- out ----------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Write what waits, as long as the client reads."""
        wire = self._wire
        while self._outbox and wire.is_writable:
            effect = self._outbox.popleft()
            if not wire.is_open:
                self._outbox.clear()
                break
            match effect:
                case ev.SendTransition():
                    self._write_transition(effect)
                    self._feed(ev.TransitionWritten())
                case ev.Send(data):
                    self._write(data)
                case ev.Close(code, reason):
                    wire.close_now(code, reason)
        if not self._outbox and self._drained is not None:
            self._drained.set()

    def _write_transition(self, effect: ev.SendTransition) -> None:
        message = frames.transition(
            effect.start, effect.end, effect.modifications, effect.client_clock_skew_ms, time.time_ns()
        )
        for chunk in frames.chunks(message) if self._handshake.client.takes_chunks else (message,):
            self._write(chunk)

    def _write(self, data: bytes) -> None:
        self._wire.write_text(data)
        self._last_sent = asyncio.get_running_loop().time()

    async def _wait_drained(self) -> None:
        """A client that does not read is not read from either; the wire calls `_flush` when it is gone."""
        self._drained = asyncio.Event()
        await self._drained.wait()
        self._drained = None
