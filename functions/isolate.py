"""Port: what the runtime needs of a JavaScript engine. Implemented by functions/quickjs.py.

An *image* is memory after the prelude and every module of a bundle were evaluated; it is built once per
bundle. An *isolate* is a reusable memory that runs one call at a time from a fresh copy of an image.
Between `start` and the settled outcome the isolate is suspended whenever JavaScript waits for an
asynchronous system call that the host has not answered.

Promises of an implementation:
  - equal (image, request, answers) give equal outcomes and equal calls to the host, byte for byte;
  - nothing a call did is visible to a later call;
  - loops, recursion, allocation and regular expressions end in `Terminated`, never in a lost process;
  - an answer for a call that is over (another generation) is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a JavaScript stack, as the engine reports it (positions in the bundle, 1-based)."""

    function: str | None
    module: str  # "messages.js", without the "convex:/" of the specifier
    line: int
    column: int
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """The entry's promise was fulfilled; `json` is the string it gave (UTF-8 JSON of a Convex value)."""

    json: bytes


@dataclass(frozen=True, slots=True)
class Thrown:
    """JavaScript threw. `name` and `message` as spec 03 3.6; `data_json` only for a ConvexError."""

    name: str
    message: str
    frames: tuple[Frame, ...] = ()
    data_json: bytes | None = None
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class Terminated:
    """The call was ended from outside and could not catch it: time, memory, a promise that never settles,
    or a host call that raised an error of an uncatchable kind (then `cause` is that exception)."""

    message: str
    code: str  # "timeout" | "memory" | "never_resolves" | "host" | "uncatchable"
    cause: BaseException | None = None


Settled = Returned | Thrown | Terminated


class HostCalls(Protocol):
    """What JavaScript may ask of the host. Called on the isolate's thread, while JavaScript waits."""

    def syscall(self, name: str, args: bytes) -> bytes:
        """Answer a synchronous system call. A raised catchable BackendError is thrown into JavaScript."""

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        """Answer now (bytes), or later through `Isolate.deliver(call_id, ...)` (None).

        A raised catchable BackendError rejects the promise with its message (and `.data`).
        """

    def console(self, level: str, messages: list[str]) -> None:
        """One console call: DEBUG, ERROR, INFO, LOG or WARN and its rendered arguments."""

    def observed(self, what: str) -> None:
        """The call read the clock ("time") or drew randomness ("random") for the first time."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One entry into JavaScript.

    operation "call": `target` is (module path, export name, kind) and `args_json` the argument array;
    "http": `target` is (module path of the router, "default", "action"), `args_json` the request;
    "analyze": `target` is module paths; the result is JSON {path: {functions: [...]} | {error: ...}};
    "evaluate": `target` is (module path, kind) with kind schema | auth | app | crons | http; the result
    is the JSON that the module's default export gives (spec 02 9).
    """

    operation: str
    target: tuple[str, ...]
    args_json: bytes = b"[]"
    now_ms: float = 0.0
    seed: bytes = bytes(32)
    user_seconds_max: float = 1.0


@dataclass(frozen=True, slots=True)
class AnswerError:
    """A rejected asynchronous system call: the message and, for a ConvexError of a nested call, its data."""

    message: str
    data_json: bytes | None = None


class Image(Protocol):
    """Memory of an evaluated bundle, immutable, shared by isolates."""

    @property
    def key(self) -> str:
        """Equal for interchangeable images."""

    @property
    def bytes_held(self) -> int:
        """What keeping the image costs."""

    @property
    def console_lines(self) -> tuple[tuple[str, str], ...]:
        """What modules printed while they were evaluated: (level, JSON array of rendered arguments)."""

    def module_error(self, path: str) -> Thrown | Terminated | None:
        """Why the module could not be evaluated, or None."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What an image is made of; equal requests give interchangeable images."""

    modules: dict[str, bytes]  # path -> ES module source; imports are relative paths among these
    entries: tuple[str, ...]  # the paths to evaluate, in order; others load when imported
    environment: dict[str, str] = field(default_factory=dict)
    import_now_ms: float = 0.0
    import_seed: bytes = bytes(32)
    component: str = ""
    clock_allowed: bool = True  # False: reading clock or randomness at import throws (auth, app config)
    purpose: str = "functions"  # "schema": reading process.env throws; "auth": reading an unset name throws


class Isolate(Protocol):
    def start(self, image: Image, request: CallRequest, host: HostCalls) -> Settled | None:
        """Begin a call in fresh memory; None means it waits for an answer."""

    def deliver(self, call_id: int, answer: bytes | AnswerError) -> Settled | None:
        """Settle one waiting system call and go on; None means it waits again."""

    def user_seconds(self) -> float:
        """CPU seconds JavaScript has used in this call, host calls excluded."""

    def unawaited_operations(self) -> list[str]:
        """Names of the system calls that were in flight when the call settled (spec 03 3.6, actions)."""

    def expire(self) -> None:
        """From any thread: JavaScript that runs now ends soon, as if its time were up."""

    def memory_bytes(self) -> int:
        """What a suspended call keeps."""


class Engine(Protocol):
    def build_image(self, request: ImageRequest) -> Image:
        """Evaluate a bundle. A module that throws is stored as its error; its importers fail with it."""

    def isolate(self) -> Isolate:
        """An isolate of the pool that is idle now (nested calls take another one)."""

    def release(self, isolate: Isolate) -> None:
        """Give an isolate back; a suspended call in it is abandoned."""
