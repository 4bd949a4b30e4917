"""Port: everything the gateway knows of the rest. Implemented by cluster/backend.py.

Promises of an implementation:
  - `published_ts` never decreases, and covers every ts a reply of this backend has carried;
  - the stream calls the listener with strictly ordered `(covered_ts, invalidations)`: when it has been
    called with covered_ts P, every invalidation at or before P has been delivered;
  - a registration answered `Registered(P)` loses nothing: the result is valid through P, and a later
    invalidation arrives in the stream after P;
  - function failures are values (`FunctionOutcome.error`); only request-level failures raise BackendError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from log.identity import NO_REQUESTER, Identity, Requester


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call of a user (or `_system/`) function, decoded and checked by the gateway."""

    path: str  # canonical "dir/mod.js:fn"
    args: bytes  # JSON array text; values in the Convex encoding, validated by the callee
    identity: Identity
    component: str = ""  # component path, "" = the app
    request_id: str = ""  # 16 hex digits, for error texts and logs
    caller: str = "HttpApi"  # "SyncWorker" | "HttpApi" | "Tester" | "Scheduler" | "Action"
    client_version: str = ""  # "npm-1.48.0"
    session_id: str | None = None  # with session_request: exactly once over reconnects (spec 01 1.8)
    session_request: int | None = None
    late_seconds: float | None = None  # of a scheduled job: how long after its time it began
    trace_id: str = ""  # 32 hex digits of W3C Trace Context; "" = in no trace
    requester: Requester = NO_REQUESTER


@dataclass(frozen=True, slots=True)
class FunctionError:
    """The function failed (spec 03 0, JsError). `message` is the whole multi-line text without the
    `[Request ID: ...] Server Error` line; `data` is canonical JSON, present only for a ConvexError."""

    message: str
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the transaction of a query or mutation read and wrote of the app's documents, nested calls too.
    An action has no transaction: what it calls is told by itself. What was run again after a conflict counts
    once, and what failed wrote nothing."""

    database_read_bytes: int = 0
    database_read_documents: int = 0
    database_write_bytes: int = 0
    database_write_documents: int = 0


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class FunctionOutcome:
    """How a call ended. Bytes are canonical JSON, to be spliced into answers undecoded (D9)."""

    value: bytes | None  # the returned value; None when `error` is set
    error: FunctionError | None
    log_lines: bytes  # JSON array of "[LOG] 'x'" strings; b"[]" when there are none
    ts: int  # query: the snapshot it was read at; mutation: the commit timestamp
    journal: str | None = None  # end cursor of a paginated query (spec 01 5.2)
    reads: bytes = b""  # opaque: pass to register()
    observed_identity: bool = True
    observed_time: bool = True
    execution_seconds: float = 0.0
    udf_type: str = ""  # "Query" | "Mutation" | "Action", for the function log
    usage: Usage = NO_USAGE
    audit_lines: tuple[bytes, ...] = ()  # JSON objects of `log.audit`, for the sinks


@dataclass(frozen=True, slots=True)
class Registered:
    """The subscription stands; its result is known to be valid through `valid_through_ts`."""

    valid_through_ts: int


@dataclass(frozen=True, slots=True)
class Invalidated:
    """The result was already overwritten at `ts`; nothing was registered."""

    ts: int


@dataclass(frozen=True, slots=True)
class Invalidation:
    """The subscription `key` was hit by the commit at `ts` and is gone; `reason` is the path of the function
    that wrote, and `written_key` what it wrote in an index (None: the catalog, or a restart)."""

    key: int
    ts: int
    reason: str
    index_id: bytes | None = None
    written_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class HttpActionCall:
    """A request for user code. `path` is that of the address as it came, still encoded; `body` is what came
    of the body with the head."""

    method: str
    url: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    has_more_body: bool
    identity: Identity
    identity_error: tuple[str, str] | None  # (code, text): its Authorization names nobody
    request_id: str
    trace_id: str = ""
    requester: Requester = NO_REQUESTER


class HttpPieces(Protocol):
    """The body of a response under way."""

    async def read(self) -> bytes | FunctionOutcome:
        """The next piece, or how the run ended: then nothing more is read. A run whose client has left has
        no more pieces."""


class Unanswered(Enum):
    """Requests that no user code answers."""

    NO_MODULE = "no_module"
    NO_ROUTE = "no_route"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HttpActionAnswer:
    """A response: its body is whole, or comes in pieces. `outcome` is there once the run has ended."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | HttpPieces
    outcome: FunctionOutcome | None = None


class HttpActionRun(Protocol):
    """A request that user code answers while its body is still coming."""

    async def answer(self) -> HttpActionAnswer | tuple[Unanswered, FunctionOutcome | None]:
        """Without an answer: why, and how the run ended if there was one. Asked once."""

    async def write(self, piece: bytes, has_more: bool) -> bool:
        """Hand over the next piece; return when there is room for another: whether one is wanted."""

    def refuse_body(self) -> None:
        """The body is larger than it may be: nothing more of it comes."""

    def leave(self) -> None:
        """The client has gone; `answer` then tells how the run ended."""


ROWS_READ, ROWS_WRITTEN = "rowsRead", "rowsWritten"
MinuteRows = tuple[int, int]
"""The number of a minute since 1970, and how many rows of a table."""
JobListener = Callable[[FunctionCall, FunctionOutcome], None]
StreamListener = Callable[[int, Sequence[Invalidation]], None]


class Backend(Protocol):
    """What the gateway may ask for."""

    @property
    def published_ts(self) -> int:
        """The newest commit timestamp known to this gateway."""

    @property
    def covered_ts(self) -> int:
        """The ts up to which the invalidation stream has been delivered; results are served at it."""

    @property
    def has_executors(self) -> bool:
        """Whether somebody is connected now who runs queries and mutations."""

    async def latest_ts(self) -> int:
        """The newest readable timestamp of the log, by asking it."""

    async def wait_covered(self, ts: int) -> None:
        """Return once covered_ts >= ts."""

    async def run_query(self, call: FunctionCall, ts: int | None, journal: str | None) -> FunctionOutcome:
        """Run at exactly `ts`, or at the newest readable timestamp when None."""

    async def run_mutation(self, call: FunctionCall) -> FunctionOutcome: ...

    async def run_action(self, call: FunctionCall) -> FunctionOutcome: ...

    async def begin_http_action(self, call: HttpActionCall) -> HttpActionRun:
        """Let the app's router answer."""

    async def run_any(self, call: FunctionCall) -> FunctionOutcome:
        """Look the function up and run it as what it is (spec 01 2.3, /api/function)."""

    async def run_inline(self, call: FunctionCall, source: str, component_id: str) -> FunctionOutcome:
        """Run the query that this module exports, under the path of the call, in the component of this id (""
        is the app; spec 02 14)."""

    async def admin(self, operation: str, body: bytes, identity: Identity) -> bytes:
        """A deploy or operator operation ("start_push", "finish_push", ...): JSON in, JSON out."""

    async def register(self, key: int, reads: bytes, ts: int) -> Registered | Invalidated: ...

    def unregister(self, keys: Sequence[int]) -> None: ...

    def listen(self, listener: StreamListener) -> None:
        """Set the one listener of the stream; called on the gateway's event loop."""

    def listen_to_jobs(self, listener: JobListener) -> None:
        """Set the one listener that hears of what no client called: jobs, and what actions called."""

    async def table_rows(self, metric: str, component: str, table: str) -> Sequence[MinuteRows]:
        """Rows that functions read of a table ("rowsRead"), or that were written into it ("rowsWritten"), in
        the last hours; none of a table that is not there. A minute may come more than once."""

    async def actor_facts(self) -> list[dict[str, Any]]:
        """What each actor says of itself, by name: "role", "is_up", and numbers where there are any. Who does
        not answer in time is not up, and nothing else is known of it. This process is "gateway"."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the operator configured, as the gateway needs it."""

    instance_name: str
    instance_secret: bytes
    redact_errors: bool = False
    trusted_proxies: str = ""  # whose X-Forwarded-For names the client: addresses, networks; "" = nobody's
    server_version: str = "unknown"
    sink_file: str = ""  # where executions are appended as JSON lines; "" = nowhere
    sink_url: str = field(default="", repr=False)  # where they are posted; it may hold a key
