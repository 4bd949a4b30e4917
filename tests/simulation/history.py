"""What happened in one simulated history, as the checkers see it: events in order, and the log at the end.

Events are what can be seen from outside an actor (what it wrote, sent, or was sent), never its insides, so
that a checker does not believe what it checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from log.record import Record

Shown = tuple[tuple[str, bytes, bytes | None], ...]
"""What a client shows: (path, args, value or None when it failed) of each query, in order of query id."""


@dataclass(frozen=True, slots=True)
class Durable:
    """Records with these timestamps are in the log from now on."""

    timestamps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Folded:
    """A view has folded a record."""

    view: str
    seq: int
    ts: int
    crc: int


@dataclass(frozen=True, slots=True)
class Told:
    """A core spoke of a ts: it answered a commit, pushed its stream or was asked for the newest."""

    core: str
    what: str  # "committed" | "stream" | "newest"
    ts: int


@dataclass(frozen=True, slots=True)
class QueryRun:
    """An executor answered a query as of a ts."""

    executor: str
    path: str
    args: bytes
    ts: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A client wants a mutation. `operation` is in its arguments and in no other's."""

    client: str
    operation: str
    path: str
    has_session: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A client was told how its mutation ended. ts None: it failed, and value is the error's text."""

    client: str
    operation: str
    ts: int | None
    value: Any


@dataclass(frozen=True, slots=True)
class Unknown:
    """A client without a session lost the connection: it is never told."""

    client: str
    operation: str


@dataclass(frozen=True, slots=True)
class Connected:
    client: str
    connection: int


@dataclass(frozen=True, slots=True)
class Transitioned:
    """A client received a Transition; `shown` is what it shows then. Versions: (query set, ts)."""

    client: str
    connection: int
    start: tuple[int, int]
    end: tuple[int, int]
    shown: Shown


@dataclass(frozen=True, slots=True)
class AtRest:
    """What a client shows at the end, what it still waits for, and the newest ts it was promised."""

    client: str
    connection: int
    is_connected: bool
    query_sets: tuple[int, int]  # of what it shows, of what it asked for
    ts: int
    waiting: tuple[str, ...]
    shown: Shown


@dataclass(frozen=True, slots=True)
class Stopped:
    """A process ended itself. `is_expected`: it was fenced, or its disk failed."""

    process: str
    reason: str
    is_expected: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """The world did something to somebody."""

    what: str


Event = (
    Durable
    | Folded
    | Told
    | QueryRun
    | Sent
    | Answered
    | Unknown
    | Connected
    | Transitioned
    | AtRest
    | Stopped
    | Fault
)


@dataclass(slots=True)
class History:
    """`steps` counts messages delivered and syncs done. `defects` is what no event can say."""

    seed: int
    events: list[tuple[float, Event]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    steps: int = 0
    defects: list[str] = field(default_factory=list)

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind, in order."""
        return [event for _, event in self.events if type(event) is kind]

    def digest(self) -> str:
        """Equal digests: the same things happened at the same times, and the same log came of it."""
        digest = blake2b(digest_size=16)
        for seconds, event in self.events:
            digest.update(f"{seconds:.9f} {event!r}\n".encode())
        for record in self.records:
            digest.update(f"{record!r}\n".encode())
        return digest.hexdigest()
