"""The JavaScript engine of functions/isolate.py: QuickJS in WebAssembly, one image per bundle.

Promises beside those of the port:
  - an isolate serves one call at a time, on one thread at a time; a pool gives each nesting level its own;
  - the ids of asynchronous system calls are never used twice by an isolate, so an answer that comes after
    its call has ended finds nothing and is dropped;
  - a call's time is CPU time of JavaScript: whatever the host does in between is not counted.

Read in this order: Engine, JavaScriptIsolate.start, _conclude.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from threading import Lock

from functions import host_operations
from functions.engine import EngineFiles, read_engine_files
from functions.host_imports import Refusal, Trapped
from functions.image import (
    STATUS_ABORTED,
    STATUS_INTERRUPTED,
    STATUS_NEVER_RESOLVES,
    STATUS_RETURNED,
    STATUS_THROWN,
    STATUS_WAITING,
    ImageBuilder,
    MemoryImage,
)
from functions.isolate import (
    AnswerError,
    CallRequest,
    HostCalls,
    Image,
    ImageRequest,
    Isolate,
    Returned,
    Settled,
    Terminated,
)
from functions.javascript_errors import interrupted, thrown_from_json, trapped, with_module_errors
from functions.sandbox import Instance, Sandbox
from functions.watchdog import Meter, watchdog
from log import values
from log.errors import CATCHABLE_KINDS, BackendError
from log.invariant import invariant
from log.limits import MIB

IDLE_ISOLATES_MAX = 16
GROWTH_BYTES_MAX = 16 * MIB
"""Linear memory cannot shrink; an instance that grew past its image by more than this is replaced."""
CALL_IDS_PER_GENERATION = 1 << 31
OBSERVED_TIME, OBSERVED_RANDOM = 1, 2
NEVER_RESOLVES = "Returned promise will never resolve"


class Engine:
    """Builds images and lends isolates; one per process, shared by its threads."""

    def __init__(
        self, cache_folder: Path, files: EngineFiles | None = None, raw_calls: bool | None = None
    ) -> None:
        files = files or read_engine_files()
        self._sandbox = Sandbox(files.wasm, cache_folder, raw_calls)
        self._images = ImageBuilder(self._sandbox, files)
        self._idle: list[JavaScriptIsolate] = []
        self._lock = Lock()

    def build_image(self, request: ImageRequest) -> MemoryImage:
        return self._images.image(request)

    def isolate(self) -> JavaScriptIsolate:
        with self._lock:
            return self._idle.pop() if self._idle else JavaScriptIsolate(self._sandbox)

    def release(self, isolate: Isolate) -> None:
        invariant(isinstance(isolate, JavaScriptIsolate), "an engine takes back what it lent")
        assert isinstance(isolate, JavaScriptIsolate)  # for the type checker; the line above is the check
        isolate.abandon()
        with self._lock:
            if len(self._idle) < IDLE_ISOLATES_MAX:
                self._idle.append(isolate)
                return
        isolate.drop_memory()


class JavaScriptIsolate:
    """One reusable memory. `start` .. settled is one call; everything else of it is forgotten after that."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._instance: Instance | None = None
        self._generation = 0
        self._meter: Meter | None = None  # of the running call
        self._last_meter: Meter | None = None  # of the running call or the one before
        self._waiting: dict[int, str] = {}

    # --- functions.isolate.Isolate ---------------------------------------------------------------------

    def start(self, image: Image, request: CallRequest, host: HostCalls) -> Settled | None:
        invariant(isinstance(image, MemoryImage), "an isolate runs images of its own engine")
        assert isinstance(image, MemoryImage)  # for the type checker
        self.abandon()
        self._image, self._request, self._host = image, request, host
        self._observed = 0
        error = image.errors.get(request.target[0]) if request.operation != "analyze" else None
        if error is not None:
            return error
        instance = self._fresh_instance(image)
        self._prepare(instance, request)
        operation, target = request.operation.encode(), "\n".join(request.target).encode()
        instance.write(operation + target + request.args_json)
        self._meter = Meter(instance, request.user_seconds_max)
        return self._run("enter", len(operation), len(target), len(request.args_json))

    def deliver(self, call_id: int, answer: bytes | AnswerError) -> Settled | None:
        """As the port says; after the call has settled (or for an older call) this changes nothing."""
        local_id = call_id - self._generation * CALL_IDS_PER_GENERATION
        instance = self._instance
        if self._meter is None or instance is None or self._waiting.pop(local_id, None) is None:
            return None
        if isinstance(answer, AnswerError):
            answer = _refusal(answer.message, answer.data_json)
        return self._run("deliver", local_id, instance.answer(answer))

    def user_seconds(self) -> float:
        return self._last_meter.seconds() if self._last_meter is not None else 0.0

    def unawaited_operations(self) -> list[str]:
        """Names of system calls that were in flight when the call settled (spec 03 3.6, actions)."""
        return sorted(self._waiting.values())

    def expire(self) -> None:
        """As the port says; a call that is suspended is not woken by it."""
        meter = self._meter
        if meter is not None:
            meter.expire()

    def memory_bytes(self) -> int:
        return self._instance.size() if self._instance is not None else 0

    def abandon(self) -> None:
        """Forget the running call: its answers will be dropped, its memory overwritten."""
        self._generation += 1
        self._end_call()
        self._waiting = {}

    def drop_memory(self) -> None:
        """Between calls only, when the watchdog does not look at it; the next call makes another."""
        if self._instance is not None:
            self._instance.close()
            self._instance = None

    # --- one step --------------------------------------------------------------------------------------

    def _fresh_instance(self, image: MemoryImage) -> Instance:
        instance = self._instance = self._instance or self._sandbox.instance()
        instance.restore(image.runs)
        instance.imports = self
        return instance

    def _prepare(self, instance: Instance, request: CallRequest) -> None:
        """Clock, seed and rights of the phase that is entered."""
        is_call = request.operation in ("call", "http")
        is_action = is_call and request.target[2] == "action"
        control = instance.control
        control.now_ms = request.now_ms
        control.seed[:] = request.seed
        control.executing = is_call
        control.clock_live = control.dynamic_import = is_action

    def _run(self, export: str, *values: int) -> Settled | None:
        """Let JavaScript run until it settles or waits."""
        instance, meter = self._instance, self._meter
        assert instance is not None and meter is not None
        self._last_meter = meter
        watchdog.watch(meter)
        meter.enter()
        try:
            status = instance.call(export, *values)
        except Trapped as trap:
            meter.leave()
            self._end_call()
            self.drop_memory()
            return trapped(trap, self._request.user_seconds_max)
        finally:
            meter.leave()
            watchdog.unwatch(meter)
        if instance.control.observed != self._observed:
            self._report_observed(instance.control.observed)
        if status == STATUS_WAITING:
            return None
        settled = self._conclude(status, instance, meter)
        self._end_call()
        return settled

    def _conclude(self, status: int, instance: Instance, meter: Meter) -> Settled:
        if status == STATUS_RETURNED:
            return Returned(self._result(instance.output()))
        if status == STATUS_THROWN:
            return thrown_from_json(instance.output())
        if status == STATUS_NEVER_RESOLVES:
            return Terminated(NEVER_RESOLVES, "never_resolves")
        if status == STATUS_ABORTED:
            return Terminated(instance.output().decode("utf-8", "replace"), "uncatchable")
        invariant(status == STATUS_INTERRUPTED, "the glue gives a known status", status=status)
        if instance.failure is not None and not isinstance(instance.failure, Exception):
            raise instance.failure  # KeyboardInterrupt and SystemExit are not a call's outcome
        return interrupted(instance, meter.timed_out, self._request.user_seconds_max)

    def _result(self, output: bytes) -> bytes:
        if self._request.operation != "analyze":
            return output
        return with_module_errors(output, self._image.errors)

    def _end_call(self) -> None:
        if self._meter is None:
            return
        self._meter.finish()
        self._meter = None
        if self._instance is not None and self._instance.size() > self._image.extent + GROWTH_BYTES_MAX:
            self.drop_memory()

    def _report_observed(self, bits: int) -> None:
        fresh = bits & ~self._observed
        self._observed = bits
        if fresh & OBSERVED_TIME:
            self._host.observed("time")
        if fresh & OBSERVED_RANDOM:
            self._host.observed("random")

    # --- functions.sandbox.Imports: on the way from JavaScript to the host -------------------------------

    def syscall(self, name: bytes, args: bytes) -> bytes | Refusal:
        self._pause()
        try:
            return self._host.syscall(name.decode("utf-8", "replace"), args)
        except BackendError as error:
            return self._thrown_into_javascript(error)
        finally:
            self._resume()

    def async_syscall(self, call_id: int, name: bytes, args: bytes) -> bytes | Refusal | None:
        self._pause()
        try:
            text = name.decode("utf-8", "replace")
            answer = self._host.async_syscall(
                self._generation * CALL_IDS_PER_GENERATION + call_id, text, args
            )
            if answer is None:
                self._waiting[call_id] = text
            return answer
        except BackendError as error:
            return self._thrown_into_javascript(error)
        finally:
            self._resume()

    def console(self, level: bytes, messages_json: bytes) -> None:
        self._pause()
        try:
            self._host.console(level.decode(), json.loads(messages_json))
        finally:
            self._resume()

    def operation(self, request: bytes, data: bytes) -> bytes | Refusal:
        """Counted as the call's own time, unlike system calls: it computes for JavaScript, nothing else."""
        is_action = self._request.target[2:] == ("action",)
        return host_operations.perform(request, data, entropy_allowed=is_action)

    def load_module(self, name: bytes) -> bytes | Refusal:
        return self._image.sources.load(name)

    def now_ms(self) -> float:
        return float(time.time_ns() // 1_000_000)

    def _pause(self) -> None:
        if self._meter is not None:
            self._meter.pause()

    def _resume(self) -> None:
        if self._meter is not None:
            self._meter.resume()

    def _thrown_into_javascript(self, error: BackendError) -> Refusal:
        """A catchable refusal. Actions may catch all: they have no transaction to protect (spec 03 0)."""
        if error.kind not in CATCHABLE_KINDS and self._request.target[2:] != ("action",):
            raise error
        return _refusal(error.message, values.dumps(error.data) if error.data is not None else None)


def _refusal(message: str, data_json: bytes | None) -> Refusal:
    encoded = json.dumps({"message": message}).encode()
    return Refusal(encoded if data_json is None else encoded[:-1] + b',"data":' + data_json + b"}")
