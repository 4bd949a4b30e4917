"""One client's state of the sync protocol: events in, effects out (spec 01 1.4-1.15; design D19).

Law 1: no await, no clock, no socket. The shell (`sync_socket.py`) waits, runs functions and writes; the
time comes with each event.
Law 2: the order of effects is the order on the wire.

Promises:
  - Transitions form an unbroken chain: each starts at the version the one before ended at;
  - after every successful MutationResponse a Transition at or past its ts follows, even an empty one;
  - one computation at a time, at most SOCKET_TRANSITIONS_UNSENT_MAX Transitions unsent: a slow reader
    skips states and the newest one wins;
  - mutations run one at a time in the order received, under the identity of their arrival;
  - nothing starts under an identity that has expired; an idle socket is not closed for it;
  - after Close nothing follows but ReleaseResults.

Read in this order: receive, _maybe_compute, _transition_computed, _close_with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from gateway import frames, token_errors
from gateway import sync_events as ev
from gateway.backend import FunctionOutcome
from gateway.frames import ZERO_VERSION, AddQuery, RemoveQuery, RunFunction, StateVersion
from gateway.results import QueryKey, QueryResult
from gateway.status import TREATMENTS, LastMessage, close_reason, function_error_text
from log import errors
from log.errors import BackendError, ErrorKind
from log.identity import UNKNOWN, Identity
from log.invariant import invariant
from log.limits import (
    FEATURE_RETRY_SECONDS,
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
    SOCKET_ACTIONS_RUNNING_MAX,
    SOCKET_MUTATIONS_QUEUED_MAX,
    SOCKET_TRANSITIONS_UNSENT_MAX,
)

_RETRIED_KINDS = frozenset(
    {ErrorKind.OVERLOADED, ErrorKind.REJECTED, ErrorKind.OPERATIONAL, ErrorKind.OUT_OF_RETENTION}
)
_REFUSED_TOKEN_KINDS = frozenset({ErrorKind.UNAUTHENTICATED, ErrorKind.FORBIDDEN, ErrorKind.BAD_REQUEST})


@dataclass(slots=True)
class _Query:
    """One live query. `result` is what was last evaluated (held); `sent_digest` what the client shows;
    `recheck` is set when the identity changed, until the next evaluation."""

    key: QueryKey  # with the journal of the newest result
    result: QueryResult | None = None
    sent_digest: bytes | None = None
    recheck: bool = False


class SyncSession:
    """See the module's promises. `receive` is the only way in."""

    __slots__ = (
        "_actions_running",
        "_clock_skew_ms",
        "_closed",
        "_computing",
        "_identity",
        "_identity_expires_seconds",
        "_mutations",
        "_now_seconds",
        "_owed_ts",
        "_pending",
        "_queries",
        "_query_ids",
        "_received_identity",
        "_received_query_set",
        "_redact",
        "_removed",
        "_retry_seconds",
        "_retry_waiting",
        "_session_id",
        "_target",
        "_unsent",
        "_update_scheduled",
        "_version",
    )

    def __init__(self, redact_errors: bool = False) -> None:
        self._redact = redact_errors
        self._session_id: str | None = None  # set by each Connect
        self._clock_skew_ms: int | None = None
        self._now_seconds = 0.0  # of the newest event
        self._identity: Identity = UNKNOWN  # of the newest accepted Authenticate, as is its end
        self._identity_expires_seconds = float("inf")
        self._received_query_set = 0  # newest versions the client sent ...
        self._received_identity = 0
        self._version = ZERO_VERSION  # ... and the newest it was sent
        self._target = ZERO_VERSION  # what the computation in progress will reach at least
        self._owed_ts = 0  # the next Transition must reach this
        self._query_ids: set[int] = set()  # as the client sees them: pending modifications included
        self._pending: list[AddQuery | RemoveQuery] = []
        self._queries: dict[int, _Query] = {}
        self._removed: list[int] = []  # to be told by the Transition in computation
        self._mutations: deque[tuple[RunFunction, Identity]] = deque()  # head is running
        self._actions_running = 0
        self._update_scheduled = False
        self._computing = False
        self._unsent = 0
        self._retry_waiting = False
        self._retry_seconds = RETRY_SECONDS_FIRST
        self._closed = False

    @property
    def mutations_waiting(self) -> int:
        """For the one that runs."""
        return max(0, len(self._mutations) - 1)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def receive(self, event: ev.Event, now_seconds: float = 0.0) -> list[ev.Effect]:
        """Take one event; returns the effects to perform, in order."""
        self._now_seconds = now_seconds
        if self._closed:
            return self._receive_closed(event)
        try:
            handle: Callable[..., list[ev.Effect]] = _HANDLERS[type(event)]
            return handle(self, event)
        except BackendError as refusal:
            return self._close_with(refusal)

    def _receive_closed(self, event: ev.Event) -> list[ev.Effect]:
        """Late results still carry holds; everything else comes too late to matter."""
        if isinstance(event, ev.TransitionComputed):
            return _release(result for _, result in event.results)
        return []

    # --- client messages ----------------------------------------------------------------------------

    def _connect_received(self, event: ev.ConnectReceived) -> list[ev.Effect]:
        message = event.message
        observed = message.max_observed_ts or 0
        if observed > event.newest_ts:
            raise errors.socket_protocol_broken(
                f"the client has seen ts {observed}, this server only {event.newest_ts}: "
                "it would be shown the past"
            )
        self._session_id = message.session_id
        self._owed_ts = max(self._owed_ts, observed)
        if message.client_ts_ms is not None:
            self._clock_skew_ms = message.client_ts_ms - event.now_ms
        return []

    def _query_set_modified(self, event: ev.QuerySetModified) -> list[ev.Effect]:
        message = event.message
        if message.base_version != self._received_query_set:
            raise errors.base_version_mismatch(message.base_version, self._received_query_set)
        if message.new_version <= message.base_version:
            raise errors.socket_protocol_broken("a query set version grows with each modification")
        for modification in message.modifications:
            self._check_modification(modification)
        self._pending.extend(message.modifications)
        self._received_query_set = message.new_version
        return self._schedule_update()

    def _check_modification(self, modification: AddQuery | RemoveQuery) -> None:
        query_id = modification.query_id
        if isinstance(modification, AddQuery):
            self._check_component(modification.component)
            if query_id in self._query_ids:
                raise errors.socket_protocol_broken(f"query {query_id} is already there")
            self._query_ids.add(query_id)
        else:
            if query_id not in self._query_ids:
                raise errors.socket_protocol_broken(f"query {query_id} is not there")
            self._query_ids.remove(query_id)

    def _authenticate_received(self, event: ev.AuthenticateReceived) -> list[ev.Effect]:
        if event.base_version != self._received_identity:
            raise errors.socket_protocol_broken(
                f"identity version {event.base_version} passed up, current is {self._received_identity}"
            )
        if isinstance(event.verdict, BackendError):
            if event.verdict.kind in _REFUSED_TOKEN_KINDS:
                return self._close_after_auth_error(event.verdict, update_attempted=True)
            raise event.verdict
        self._received_identity += 1
        self._identity_expires_seconds = event.expires_seconds
        if event.verdict != self._identity:
            self._identity = event.verdict
            for query in self._queries.values():
                query.recheck = True
        return self._schedule_update()

    def _function_requested(self, event: ev.FunctionRequested) -> list[ev.Effect]:
        message = event.message
        if self._is_identity_expired():
            raise token_errors.identity_expired()
        self._check_component(message.component)
        if message.is_mutation:
            if len(self._mutations) > SOCKET_MUTATIONS_QUEUED_MAX:
                raise errors.too_many_concurrent_mutations()
            self._mutations.append((message, self._identity))
            return self._start_head_mutation() if len(self._mutations) == 1 else []
        if self._actions_running >= SOCKET_ACTIONS_RUNNING_MAX:
            raise errors.too_many_inflight_actions()
        self._actions_running += 1
        return [self._start_function(message, self._identity)]

    def _check_component(self, component: str) -> None:
        if component and not self._identity.is_plain_admin:
            raise errors.socket_protocol_broken("only a plain admin may name a component")

    def _message_refused(self, event: ev.MessageRefused) -> list[ev.Effect]:
        raise event.error

    def _is_identity_expired(self) -> bool:
        """Noticed when something is to be done in its name (spec 01 1.10): there is no timer."""
        return self._now_seconds >= self._identity_expires_seconds

    # --- functions ----------------------------------------------------------------------------------

    def _start_head_mutation(self) -> list[ev.Effect]:
        return [self._start_function(*self._mutations[0])] if self._mutations else []

    def _start_function(self, message: RunFunction, identity: Identity) -> ev.StartFunction:
        request_id = log_request_id(self._session_id, message.request_id)
        return ev.StartFunction(message, identity, self._session_id, request_id)

    def _mutation_finished(self, event: ev.MutationFinished) -> list[ev.Effect]:
        invariant(len(self._mutations) > 0, "only a running mutation finishes")
        if isinstance(event.answer, BackendError):
            raise event.answer
        message, _ = self._mutations.popleft()
        if event.answer.error is None:
            self._owed_ts = max(self._owed_ts, event.answer.ts)
        # The response goes out BEFORE any Transition computed after the commit (spec 01 1.7).
        response = ev.Send(self._response(message.request_id, event.answer, is_mutation=True))
        return [response, *self._start_head_mutation(), *self._schedule_update()]

    def _action_finished(self, event: ev.ActionFinished) -> list[ev.Effect]:
        self._actions_running -= 1
        if isinstance(event.answer, BackendError):
            raise event.answer
        response = ev.Send(self._response(event.request_id, event.answer, is_mutation=False))
        return [response, *self._schedule_update()]

    def _response(self, request_id: int, outcome: FunctionOutcome, *, is_mutation: bool) -> bytes:
        log_lines = b"[]" if self._redact else outcome.log_lines
        if outcome.error is not None:
            log_id = log_request_id(self._session_id, request_id)
            text = function_error_text(log_id, outcome.error.message, self._redact)
            return frames.run_failure(is_mutation, request_id, text, log_lines, outcome.error.data)
        value = outcome.value or b"null"
        if is_mutation:
            return frames.mutation_success(request_id, value, outcome.ts, log_lines)
        return frames.action_success(request_id, value, log_lines)

    # --- Transitions --------------------------------------------------------------------------------

    def _result_invalidated(self, _event: ev.ResultInvalidated) -> list[ev.Effect]:
        return self._schedule_update()

    def _transition_written(self, _event: ev.TransitionWritten) -> list[ev.Effect]:
        self._unsent -= 1
        return self._maybe_compute()

    def _retry_due(self, _event: ev.RetryDue) -> list[ev.Effect]:
        self._retry_waiting = False
        return self._schedule_update()

    def _schedule_update(self) -> list[ev.Effect]:
        self._update_scheduled = True
        return self._maybe_compute()

    def _maybe_compute(self) -> list[ev.Effect]:
        """Start the next computation, unless one runs, the client does not read, or we wait to retry."""
        if not self._update_scheduled or self._computing or self._retry_waiting:
            return []
        if self._unsent >= SOCKET_TRANSITIONS_UNSENT_MAX:
            return []
        if self._is_identity_expired():
            # Not raised: the answers that brought us here are still owed to the client.
            return self._close_with(token_errors.identity_expired())
        self._update_scheduled, self._computing = False, True
        min_ts = max(self._owed_ts, self._version.ts)
        self._target = StateVersion(self._received_query_set, self._received_identity, min_ts)
        dropped = self._apply_pending()
        queries = tuple(
            ev.QueryToEvaluate(query_id, query.key, None if query.recheck else query.result)
            for query_id, query in self._queries.items()
        )
        return [*_release(dropped), ev.ComputeTransition(min_ts, self._identity, queries)]

    def _apply_pending(self) -> list[QueryResult | None]:
        """Bring the pending modifications into the query set; returns the results no longer shown."""
        dropped: list[QueryResult | None] = []
        for modification in self._pending:
            if isinstance(modification, AddQuery):
                self._queries[modification.query_id] = _Query(_key(modification))
            else:
                dropped.append(self._queries.pop(modification.query_id).result)
                self._removed.append(modification.query_id)
        self._pending.clear()
        return dropped

    def _transition_computed(self, event: ev.TransitionComputed) -> list[ev.Effect]:
        invariant(self._computing, "a Transition was asked for before it is computed")
        invariant(
            event.ts >= self._target.ts,
            "a Transition reaches what was owed when it was asked for",
            computed=event.ts,
            owed=self._target.ts,
        )
        self._computing = False
        self._retry_seconds = RETRY_SECONDS_FIRST
        for query in self._queries.values():
            query.recheck = False
        modifications = {
            query_id: frames.query_removed(query_id)
            for query_id in self._removed
            if query_id not in self._queries
        }
        self._removed.clear()
        replaced, unready = self._take_results(event, modifications)
        start, end = self._version, StateVersion(self._target.query_set, self._target.identity, event.ts)
        self._version = end
        self._unsent += 1
        ordered = tuple(modifications[query_id] for query_id in sorted(modifications))
        transition = ev.SendTransition(start, end, ordered, self._clock_skew_ms)
        retry = [ev.RetryLater(FEATURE_RETRY_SECONDS)] if unready else []
        return [transition, *_release(replaced), *retry, *self._maybe_compute()]

    def _take_results(
        self, event: ev.TransitionComputed, modifications: dict[int, bytes]
    ) -> tuple[list[QueryResult | None], bool]:
        """Hold the new results and add what the client does not show yet to `modifications`; returns the
        results they replace, and whether a query could not be answered yet."""
        replaced: list[QueryResult | None] = []
        unready = False
        for query_id, result in event.results:
            query = self._queries[query_id]
            if isinstance(result, BackendError):
                query.recheck = unready = True  # left out of this Transition, asked again after a while
                continue
            replaced.append(query.result)
            query.result = result
            if result.outcome.journal != query.key.journal:
                query.key = query.key._replace(journal=result.outcome.journal)
            if result.digest != query.sent_digest:
                query.sent_digest = result.digest
                modifications[query_id] = result.modification(query_id)
            if result.invalidated_at is not None:
                self._update_scheduled = True  # overwritten between its run and now
        return replaced, unready

    def _computation_failed(self, event: ev.ComputationFailed) -> list[ev.Effect]:
        """Try again later where that may help, with growing pauses (spec 01 1.7); else close."""
        self._computing = False
        if event.error.kind not in _RETRIED_KINDS:
            raise event.error
        self._update_scheduled = True
        seconds = self._retry_seconds
        if event.error.kind is ErrorKind.OUT_OF_RETENTION:
            seconds = max(seconds, FEATURE_RETRY_SECONDS)
        self._retry_seconds = min(seconds * 2, RETRY_SECONDS_MAX)
        self._retry_waiting = True
        return [ev.RetryLater(seconds)]

    # --- the end ------------------------------------------------------------------------------------

    def _socket_gone(self, _event: ev.SocketGone) -> list[ev.Effect]:
        return self._close([])

    def _close_with(self, error: BackendError) -> list[ev.Effect]:
        """The last message and the close frame this kind of error asks for (spec 01 1.12)."""
        treatment = TREATMENTS[error.kind]
        match treatment.last_message:
            case LastMessage.AUTH_ERROR | LastMessage.AUTH_UPDATE_ERROR:
                attempted = treatment.last_message is LastMessage.AUTH_UPDATE_ERROR
                return self._close_after_auth_error(error, update_attempted=attempted)
            case LastMessage.FATAL_ERROR:
                last: list[ev.Effect] = [ev.Send(frames.fatal_error(error.message))]
            case LastMessage.NOTHING:
                last = []
        reason = "" if treatment.close_code is None else close_reason(error)
        return self._close([*last, ev.Close(treatment.close_code, reason)])

    def _close_after_auth_error(self, error: BackendError, *, update_attempted: bool) -> list[ev.Effect]:
        message = frames.auth_error(error.message, self._version.identity, update_attempted)
        return self._close([ev.Send(message), ev.Close(None, "")])

    def _close(self, effects: list[ev.Effect]) -> list[ev.Effect]:
        self._closed = True
        held = [query.result for query in self._queries.values()]
        self._queries.clear()
        return [*effects, *_release(held)]


_HANDLERS: dict[type, Callable[..., list[ev.Effect]]] = {
    ev.ConnectReceived: SyncSession._connect_received,
    ev.QuerySetModified: SyncSession._query_set_modified,
    ev.FunctionRequested: SyncSession._function_requested,
    ev.AuthenticateReceived: SyncSession._authenticate_received,
    ev.MessageRefused: SyncSession._message_refused,
    ev.MutationFinished: SyncSession._mutation_finished,
    ev.ActionFinished: SyncSession._action_finished,
    ev.ResultInvalidated: SyncSession._result_invalidated,
    ev.TransitionComputed: SyncSession._transition_computed,
    ev.ComputationFailed: SyncSession._computation_failed,
    ev.RetryDue: SyncSession._retry_due,
    ev.TransitionWritten: SyncSession._transition_written,
    ev.SocketGone: SyncSession._socket_gone,
}


def log_request_id(session_id: str | None, request_id: int) -> str:
    """How logs and error texts name a socket's request; the CLI filters by it (spec 01 1.16)."""
    return sha256(f"{session_id or ''}|{request_id}".encode()).hexdigest()[:16]


def _key(add: AddQuery) -> QueryKey:
    return QueryKey(add.path, add.args, add.component, add.journal)


def _release(results: Iterable[QueryResult | BackendError | None]) -> list[ev.Effect]:
    held = tuple(result for result in results if isinstance(result, QueryResult))
    return [ev.ReleaseResults(held)] if held else []
