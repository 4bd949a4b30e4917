"""What a sync session is told (events) and what it asks for (effects). Types only; see sync_session.py."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.backend import FunctionOutcome
from gateway.frames import Connect, ModifyQuerySet, RunFunction, StateVersion
from gateway.results import QueryKey, QueryResult
from log.errors import BackendError
from log.identity import Identity

# --- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectReceived:
    message: Connect
    newest_ts: int  # the newest commit the server knows
    now_ms: int


@dataclass(frozen=True, slots=True)
class QuerySetModified:
    message: ModifyQuerySet


@dataclass(frozen=True, slots=True)
class FunctionRequested:
    message: RunFunction


@dataclass(frozen=True, slots=True)
class AuthenticateReceived:
    """An Authenticate message whose token was checked: who it proved, or why not."""

    base_version: int
    verdict: Identity | BackendError
    expires_seconds: float = float("inf")  # the identity ends then; only users' do


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """A frame that is no message of the protocol."""

    error: BackendError


@dataclass(frozen=True, slots=True)
class MutationFinished:
    answer: FunctionOutcome | BackendError


@dataclass(frozen=True, slots=True)
class ActionFinished:
    request_id: int
    answer: FunctionOutcome | BackendError


@dataclass(frozen=True, slots=True)
class ResultInvalidated:
    """A write hit a result this session shows."""


@dataclass(frozen=True, slots=True)
class TransitionComputed:
    """Every query was evaluated at `ts`. Results that differ from what the session held are listed, each
    with one hold taken for this session; a query whose features are not ready yet has its error."""

    ts: int
    results: tuple[tuple[int, QueryResult | BackendError], ...]


@dataclass(frozen=True, slots=True)
class ComputationFailed:
    error: BackendError


@dataclass(frozen=True, slots=True)
class RetryDue:
    pass


@dataclass(frozen=True, slots=True)
class TransitionWritten:
    """One Transition left the send buffer."""


@dataclass(frozen=True, slots=True)
class SocketGone:
    pass


Event = (
    ConnectReceived
    | QuerySetModified
    | FunctionRequested
    | AuthenticateReceived
    | MessageRefused
    | MutationFinished
    | ActionFinished
    | ResultInvalidated
    | TransitionComputed
    | ComputationFailed
    | RetryDue
    | TransitionWritten
    | SocketGone
)

# --- effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class SendTransition:
    """Build the frame just before writing it (it carries the server's clock), then say TransitionWritten."""

    start: StateVersion
    end: StateVersion
    modifications: tuple[bytes, ...]
    client_clock_skew_ms: int | None


@dataclass(frozen=True, slots=True)
class StartFunction:
    message: RunFunction
    identity: Identity
    session_id: str | None
    log_request_id: str


@dataclass(frozen=True, slots=True)
class QueryToEvaluate:
    query_id: int
    key: QueryKey
    held: QueryResult | None  # what the session shows; None when it must be looked up again


@dataclass(frozen=True, slots=True)
class ComputeTransition:
    """Evaluate all queries at one ts >= min_ts that the invalidation stream covers."""

    min_ts: int
    identity: Identity
    queries: tuple[QueryToEvaluate, ...]


@dataclass(frozen=True, slots=True)
class ReleaseResults:
    results: tuple[QueryResult, ...]


@dataclass(frozen=True, slots=True)
class RetryLater:
    seconds: float


@dataclass(frozen=True, slots=True)
class Close:
    """`code` None: a close frame without status (the client sees 1005)."""

    code: int | None
    reason: str


Effect = Send | SendTransition | StartFunction | ComputeTransition | ReleaseResults | RetryLater | Close
