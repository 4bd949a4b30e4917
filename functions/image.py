"""Images: memory after the prelude and a bundle's modules were evaluated (design D11).

Promises:
  - equal requests have equal keys and interchangeable images;
  - a module that throws becomes an error of that module (and of its importers) only;
  - no call's effect gets into an image: builders work in instances of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from functions import host_operations
from functions.engine import EngineFiles
from functions.host_imports import Refusal, Trapped
from functions.isolate import ImageRequest, Terminated, Thrown
from functions.javascript_errors import interrupted, thrown_from_json, trapped
from functions.sandbox import Instance, Sandbox
from functions.watchdog import Meter, watchdog
from log.invariant import invariant
from log.limits import ANALYSIS_SECONDS_MAX, IMAGES_HELD_MAX, MIB

IMAGE_CACHE_BYTES_MAX = 256 * MIB
SPECIFIER_PREFIX = "convex:/"
LAZY_PREFIX = "tidelog:"
IMPORT_CONSOLE_LINES_MAX = 100
TOP_LEVEL_AWAIT = "Top-level awaits in source files are unsupported"

STATUS_WAITING, STATUS_RETURNED, STATUS_THROWN = 0, 1, 2
STATUS_NEVER_RESOLVES, STATUS_INTERRUPTED, STATUS_ABORTED = 3, 4, 5


@dataclass(frozen=True, slots=True)
class MemoryImage:
    """The `Image` of functions/isolate.py."""

    key: str
    bytes_held: int
    runs: tuple[tuple[int, bytes], ...]
    sources: ModuleSources
    errors: dict[str, Thrown | Terminated]
    console_lines: tuple[tuple[str, str], ...]
    """What modules printed while they were evaluated: (level, messages as JSON)."""

    @property
    def extent(self) -> int:
        """Bytes of linear memory the image spans."""
        address, data = self.runs[-1]
        return address + len(data)

    def module_error(self, path: str) -> Thrown | Terminated | None:
        return self.errors.get(path)


@dataclass(frozen=True, slots=True)
class ModuleSources:
    """What the engine loads by specifier: texts of the bundle's modules, compiled parts of the prelude."""

    modules: dict[str, bytes]
    lazy: dict[str, bytes]

    def load(self, specifier: bytes) -> bytes | Refusal:
        name = specifier.decode("utf-8", "replace")
        if name.startswith(LAZY_PREFIX):
            return self.lazy[name.removeprefix(LAZY_PREFIX).removesuffix(".js")]
        path = name.removeprefix(SPECIFIER_PREFIX)
        source = self.modules.get(path)
        if source is not None:
            return source
        missing = f"Couldn't find JavaScript module '{path}'. Did you forget to run `npx convex dev`?"
        return Refusal(json.dumps({"message": missing}).encode())


def image_key(engine_hash: str, request: ImageRequest) -> str:
    """Content address of what `build` would make."""
    digest = hashlib.sha256(engine_hash.encode())
    facts = {
        "modules": {path: hashlib.sha256(source).hexdigest() for path, source in request.modules.items()},
        "entries": request.entries,
        "environment": request.environment,
        "now": request.import_now_ms,
        "seed": request.import_seed.hex(),
        "component": request.component,
        "clock": request.clock_allowed,
        "purpose": request.purpose,
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


class ImageBuilder:
    """Evaluates bundles; keeps the most recently used images, a few and up to a number of bytes."""

    def __init__(
        self, sandbox: Sandbox, files: EngineFiles, cache_bytes_max: int = IMAGE_CACHE_BYTES_MAX
    ) -> None:
        self._sandbox, self._files = sandbox, files
        self._cache_bytes_max = cache_bytes_max
        self._cache: OrderedDict[str, MemoryImage] = OrderedDict()
        self._lock = Lock()
        parts = hashlib.sha256(b"\0".join([*files.prelude.values(), *files.lazy.values()])).hexdigest()
        self.engine_hash = sandbox.wasm_hash + parts
        self._base = self._build_base()
        self._lazy = self._compile_lazy_parts()

    def image(self, request: ImageRequest) -> MemoryImage:
        """The image of a request, built unless it is cached."""
        key = image_key(self.engine_hash, request)
        with self._lock:
            cached = self._cache.get(key)
            if cached is not None:
                self._cache.move_to_end(key)
                return cached
        image = self._build(key, request)
        with self._lock:
            self._cache[key] = image
            self._forget_oldest()
        return image

    def _forget_oldest(self) -> None:
        """Each push and each change of the environment makes an image; the earlier ones are not asked for
        again. Their number is bounded too, or small ones would pile up to the bytes of a few large ones."""
        held = sum(each.bytes_held for each in self._cache.values())
        while len(self._cache) > IMAGES_HELD_MAX or (held > self._cache_bytes_max and len(self._cache) > 1):
            held -= self._cache.popitem(last=False)[1].bytes_held

    def _build_base(self) -> tuple[tuple[int, bytes], ...]:
        """Memory with the prelude alone: every bundle starts here instead of evaluating it again."""
        instance = self._sandbox.instance()
        instance.open()
        for name, source in self._files.prelude.items():
            label = f"{LAZY_PREFIX}{name}.js".encode()
            instance.write(label + source)
            status = instance.call("run_script", len(label), len(source))
            invariant(status == STATUS_RETURNED, "the prelude evaluates", part=name, error=instance.output())
        try:
            return instance.snapshot()
        finally:
            instance.close()

    def _compile_lazy_parts(self) -> dict[str, bytes]:
        """What `lazyScript` reads. Here and not when the engine is built: bytecode is not verified, so it is
        never loaded from a file."""
        instance = self._sandbox.instance()
        instance.open()
        compiled = {}
        try:
            for name, source in self._files.lazy.items():
                label = f"{LAZY_PREFIX}{name}.js".encode()
                instance.write(label + source)
                status = instance.call("compile_script", len(label), len(source))
                invariant(status == STATUS_RETURNED, "a lazy part compiles", part=name)
                compiled[name] = instance.output()
        finally:
            instance.close()
        return compiled

    def _build(self, key: str, request: ImageRequest) -> MemoryImage:
        """A trap loses the instance, so the bundle is evaluated again without the module that trapped."""
        lost: dict[str, Thrown | Terminated] = {}
        while True:
            evaluation = Evaluation(self._sandbox.instance(), request, self._lazy, lost)
            try:
                if evaluation.run(self._base):
                    runs = evaluation.instance.snapshot()
                    break
            finally:
                evaluation.instance.close()
        return MemoryImage(
            key=key,
            bytes_held=sum(len(data) for _, data in runs),
            runs=runs,
            sources=evaluation.sources,
            errors=evaluation.errors,
            console_lines=tuple(evaluation.console_lines),
        )


class Evaluation:
    """One pass over a bundle's entries in one instance; also the host of the import phase."""

    def __init__(
        self,
        instance: Instance,
        request: ImageRequest,
        lazy_parts: dict[str, bytes],
        lost: dict[str, Thrown | Terminated],
    ) -> None:
        self.instance = instance
        self.errors: dict[str, Thrown | Terminated] = dict(lost)
        self.console_lines: list[tuple[str, str]] = []
        self.sources = ModuleSources(request.modules, lazy_parts)
        self._request, self._lost = request, lost
        instance.imports = self

    def run(self, base: tuple[tuple[int, bytes], ...]) -> bool:
        """Evaluate every entry; False when one trapped (it is then in `lost`)."""
        self.instance.restore(base)
        self._configure()
        for path in self._request.entries:
            if path in self._lost:
                continue
            try:
                error = self._evaluate(path)
            except Trapped as trap:
                self._lost[path] = trapped(trap, ANALYSIS_SECONDS_MAX)
                return False
            if error is not None:
                self.errors[path] = error
        return True

    def _configure(self) -> None:
        request, instance = self._request, self.instance
        settings = {
            "environment": request.environment,
            "purpose": request.purpose,
            "clockAllowed": request.clock_allowed,
            "now": request.import_now_ms,
        }
        payload = json.dumps(settings).encode()
        instance.control.now_ms = request.import_now_ms
        instance.control.seed[:] = request.import_seed
        instance.write(b"configure" + payload)
        status = instance.call("enter", len(b"configure"), 0, len(payload))
        invariant(status == STATUS_RETURNED, "a base image can be configured", status=status)

    def _evaluate(self, path: str) -> Thrown | Terminated | None:
        instance = self.instance
        meter = Meter(instance, ANALYSIS_SECONDS_MAX)
        length = instance.write(f"{SPECIFIER_PREFIX}{path}".encode())
        watchdog.watch(meter)
        meter.enter()
        try:
            status = instance.call("import_module", length)
        finally:
            meter.leave()
            meter.finish()
            watchdog.unwatch(meter)
        error = self._failure(status, meter)
        if error is not None:
            instance.call("forget_failure")
        return error

    def _failure(self, status: int, meter: Meter) -> Thrown | Terminated | None:
        if status == STATUS_RETURNED:
            return None
        if status == STATUS_THROWN:
            return thrown_from_json(self.instance.output())
        if status == STATUS_ABORTED:
            return Terminated(self.instance.output().decode(), "uncatchable")
        if status == STATUS_INTERRUPTED:
            return interrupted(self.instance, meter.timed_out, ANALYSIS_SECONDS_MAX)
        return Terminated(TOP_LEVEL_AWAIT, "uncatchable")

    # --- host of the import phase: the glue itself refuses system calls (spec 03 1.4) ------------------

    def syscall(self, name: bytes, args: bytes) -> bytes | Refusal:
        raise RuntimeError("the glue refuses system calls at import time")

    def async_syscall(self, call_id: int, name: bytes, args: bytes) -> bytes | Refusal | None:
        raise RuntimeError("the glue refuses system calls at import time")

    def console(self, level: bytes, messages_json: bytes) -> None:
        if len(self.console_lines) < IMPORT_CONSOLE_LINES_MAX:
            self.console_lines.append((level.decode(), messages_json.decode("utf-8", "replace")))

    def operation(self, request: bytes, data: bytes) -> bytes | Refusal:
        return host_operations.perform(request, data, entropy_allowed=False)

    def load_module(self, name: bytes) -> bytes | Refusal:
        return self.sources.load(name)

    def now_ms(self) -> float:
        return self._request.import_now_ms
