"""Runs the engine's WebAssembly. The only file that imports wasmtime; it knows no JavaScript.

Promises to functions/quickjs.py and functions/image.py:
  - an instance's state is its linear memory alone, so `restore` of a snapshot makes it as it was;
  - a host function never raises through WebAssembly: the exception is kept in `failure` and the program is
    told to stop;
  - after `Trapped` an instance is unusable (its stack pointer is lost) and must be dropped.

The hot path uses wasmtime's C API without type checks (a host call costs 4 us instead of 40). Those names are
private to the wasmtime package, so they are probed once by use; without them the public API serves.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wasmtime

from functions.host_imports import Control, Imports, NoImports, Refusal, Trapped
from log.invariant import invariant
from log.limits import JAVASCRIPT_HEAP_BYTES_MAX, JAVASCRIPT_STACK_BYTES_MAX, KIB, MIB

WASM_STACK_BYTES_MAX = 4 * MIB
"""Native stack of WebAssembly: frames outgrow JavaScript's own limit, which must be met first."""
LINEAR_MEMORY_BYTES_MAX = JAVASCRIPT_HEAP_BYTES_MAX + 8 * MIB
PAGE_BYTES = 64 * KIB
FREE_SPAN_BYTES_MIN = 2 * KIB
"""Free heap shorter than this is copied with its neighbours: another run costs more than the bytes."""
ANSWER_PENDING = -1
ANSWER_STOP = -(1 << 31)

RawArguments = Any
HostFunction = Callable[[RawArguments], None]
string_at, memmove = ctypes.string_at, ctypes.memmove


class Sandbox:
    """One wasmtime engine with the compiled program; makes instances."""

    def __init__(self, wasm: bytes, cache_folder: Path, raw_calls: bool | None = None) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        config.max_wasm_stack = WASM_STACK_BYTES_MAX
        config.memory_may_move = False  # addresses of linear memory are kept for the life of an instance
        if hasattr(wasmtime._ffi, "wasmtime_config_async_stack_size_set"):
            wasmtime._ffi.wasmtime_config_async_stack_size_set(config.ptr(), WASM_STACK_BYTES_MAX + 2 * MIB)
        self.engine = wasmtime.Engine(config)
        self.wasm_hash = hashlib.sha256(wasm).hexdigest()
        self.module = self._compiled(wasm, cache_folder)
        self.raw_calls = self._probe_raw_calls() if raw_calls is None else raw_calls

    def _compiled(self, wasm: bytes, cache_folder: Path) -> wasmtime.Module:
        """The program as machine code: compiling takes seconds, mapping a cached file 0.2 ms.

        Mapping a file is loading code: only a file of our own user is trusted. wasmtime itself refuses a
        file made for another CPU, version or configuration.
        """
        cache_folder.mkdir(parents=True, exist_ok=True)
        path = cache_folder / f"engine-{self.wasm_hash[:16]}-wasmtime-{version('wasmtime')}.cwasm"
        if path.exists() and path.stat().st_uid == os.geteuid():
            try:
                return wasmtime.Module.deserialize_file(self.engine, str(path))
            except wasmtime.WasmtimeError:
                pass  # stale: compile again below
        module = wasmtime.Module(self.engine, wasm)
        with tempfile.NamedTemporaryFile(dir=cache_folder, delete=False) as file:
            file.write(module.serialize())
        os.replace(file.name, path)
        return module

    def _probe_raw_calls(self) -> bool:
        """Whether the private names exist and a call through them gives the right answer."""
        try:
            checked = Instance(self, raw_calls=False)
            return Instance(self, raw_calls=True).call("heap_start") == checked.call("heap_start")
        except (AttributeError, TypeError, ctypes.ArgumentError):
            return False

    def instance(self) -> Instance:
        return Instance(self, self.raw_calls)


class Instance:
    """One memory with the program's functions. Used by one thread at a time."""

    def __init__(self, sandbox: Sandbox, raw_calls: bool) -> None:
        self.imports: Imports = NoImports()
        self.failure: BaseException | None = None
        self.overdue = False
        self._engine = sandbox.engine
        self._store = wasmtime.Store(sandbox.engine)
        self._store.set_limits(memory_size=LINEAR_MEMORY_BYTES_MAX)
        self._store.set_epoch_deadline(1)
        binding = RawBinding if raw_calls else PublicBinding
        self._binding: RawBinding | PublicBinding = binding(self, self._store, sandbox.module)
        self.call = self._binding.call
        self.memory = self._binding.memory
        self.base = ctypes.cast(self.memory.data_ptr(self._store), ctypes.c_void_p).value or 0
        self.call("_initialize")
        self.control = Control.from_address(self.base + self.call("control_address"))
        self._io_static = self._io_address = self.call("io_address", 0)
        self._io_bytes = PAGE_BYTES

    def open(self) -> None:
        """Create the JavaScript runtime in a fresh instance."""
        status = self.call("open", JAVASCRIPT_HEAP_BYTES_MAX, JAVASCRIPT_STACK_BYTES_MAX)
        invariant(status == 0, "a fresh memory has room for a runtime", status=status)

    def interrupt(self) -> None:
        """From any thread: JavaScript stops at its next check and cannot catch it."""
        self.control.interrupt = 1

    def trap(self) -> None:
        """From any thread: WebAssembly traps at its next loop or call. Other instances go on."""
        self.overdue = True
        self._engine.increment_epoch()

    def close(self) -> None:
        """Give the memory back, now; nothing may be called afterwards. An instance and its callbacks refer to
        one another, and a garbage collector that sees some objects, not 64 MiB, takes its time."""
        self.control = Control()  # a late `interrupt` finds harmless memory
        self._store.close()

    # --- memory ---------------------------------------------------------------------------------------

    def size(self) -> int:
        return int(self.memory.data_len(self._store))

    def snapshot(self) -> tuple[tuple[int, bytes], ...]:
        """Everything that must be copied back, as (address, bytes): statics and used heap."""
        self.call("collect")
        self._io_address, self._io_bytes = self._io_static, PAGE_BYTES
        io = self._io(FREE_SPAN_BYTES_MIN)
        count = self.call("heap_free_spans", io, self._io_bytes // 4, FREE_SPAN_BYTES_MIN)
        borders = list((ctypes.c_uint32 * count).from_address(self.base + io))
        # Between calls the shadow stack is empty; the linker puts it below the statics, so it is left out.
        stack_top, statics_end = self.call("stack_top"), self.call("statics_end")
        statics_start = stack_top if stack_top < statics_end else 0
        statics = [statics_start, self._io_static, self._io_static + PAGE_BYTES, statics_end]
        borders = [*statics, self.call("heap_start"), *borders, self.call("heap_end")]
        runs = zip(borders[::2], borders[1::2], strict=True)
        return tuple((start, string_at(self.base + start, end - start)) for start, end in runs if end > start)

    def restore(self, runs: tuple[tuple[int, bytes], ...]) -> None:
        """Make memory what it was when `runs` were taken; bytes outside of them do not matter."""
        last_address, last_bytes = runs[-1]
        missing = last_address + len(last_bytes) - self.size()
        if missing > 0:
            self.memory.grow(self._store, -(-missing // PAGE_BYTES))
        base = self.base
        for address, data in runs:
            memmove(base + address, data, len(data))
        self._io_address, self._io_bytes = self._io_static, PAGE_BYTES
        self.failure, self.overdue = None, False

    def _io(self, need: int) -> int:
        """Address where `need` bytes may be written."""
        if need > self._io_bytes:
            address = self._binding.reserve(need)
            if not address:
                raise MemoryError("the isolate has no room for what it is given")
            self._io_address, self._io_bytes = address, need
        return self._io_address

    def write(self, data: bytes) -> int:
        """Put bytes into the io area; gives their length."""
        length = len(data)
        memmove(self.base + self._io(length), data, length)
        return length

    def output(self) -> bytes:
        """The text the last export gave."""
        control = self.control
        return string_at(self.base + control.out_address, control.out_length)

    def answer(self, value: bytes | Refusal | None) -> int:
        """Encode an answer of the host as the glue expects it (glue.c, ANSWER_*)."""
        if value is None:
            return ANSWER_PENDING
        length = self.write(value)
        return -length - 2 if isinstance(value, Refusal) else length

    # --- host functions -------------------------------------------------------------------------------

    def host_functions(self) -> dict[str, tuple[str, HostFunction]]:
        """Import name -> (signature, implementation over raw arguments)."""
        return {
            "syscall": ("iiii>i", self._on_syscall),
            "async_syscall": ("iiiii>i", self._on_async_syscall),
            "console": ("iiii>i", self._on_console),
            "operation": ("iiii>i", self._on_operation),
            "load_module": ("ii>i", self._on_load_module),
            "now": (">f", self._on_now),
        }

    def _on_syscall(self, args: RawArguments) -> None:
        base = self.base
        name = string_at(base + args[0].i32, args[1].i32)
        args[0].i32 = self.answer(self.imports.syscall(name, string_at(base + args[2].i32, args[3].i32)))

    def _on_async_syscall(self, args: RawArguments) -> None:
        base = self.base
        name = string_at(base + args[1].i32, args[2].i32)
        payload = string_at(base + args[3].i32, args[4].i32)
        args[0].i32 = self.answer(self.imports.async_syscall(args[0].i32, name, payload))

    def _on_console(self, args: RawArguments) -> None:
        level = string_at(self.base + args[0].i32, args[1].i32)
        self.imports.console(level, string_at(self.base + args[2].i32, args[3].i32))
        args[0].i32 = 0

    def _on_operation(self, args: RawArguments) -> None:
        request = string_at(self.base + args[0].i32, args[1].i32)
        data = string_at(self.base + args[2].i32, args[3].i32)
        args[0].i32 = self.answer(self.imports.operation(request, data))

    def _on_load_module(self, args: RawArguments) -> None:
        name = string_at(self.base + args[0].i32, args[1].i32)
        args[0].i32 = self.answer(self.imports.load_module(name))

    def _on_now(self, args: RawArguments) -> None:
        args[0].f64 = self.imports.now_ms()


_KINDS = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64, "f": wasmtime.ValType.f64}
_WASI_ERRNO_BADF = 8
_WASI = {"fd_close": "i>i", "fd_fdstat_get": "ii>i", "fd_seek": "iIii>i", "fd_write": "iiii>i"}
"""The toolchain's C library keeps these imports; nothing calls them, and they refuse."""


def _function_type(signature: str) -> wasmtime.FuncType:
    parameters, results = signature.split(">")
    return wasmtime.FuncType([_KINDS[k]() for k in parameters], [_KINDS[k]() for k in results])


def _refuse_wasi(args: RawArguments) -> None:
    args[0].i32 = _WASI_ERRNO_BADF


def _implementation(instance: Instance, module: str, name: str) -> tuple[str, HostFunction]:
    return (_WASI[name], _refuse_wasi) if module != "host" else instance.host_functions()[name]


def _trap_reason(trap: wasmtime.Trap) -> str:
    code = trap.trap_code
    reasons = {wasmtime.TrapCode.INTERRUPT: "interrupted", wasmtime.TrapCode.STACK_OVERFLOW: "stack"}
    return reasons.get(code, trap.message) if code is not None else trap.message


class PublicBinding:
    """Calls through wasmtime's public API: slow, and it can interrupt only all instances together."""

    def __init__(self, instance: Instance, store: wasmtime.Store, module: wasmtime.Module) -> None:
        self._instance, self._store = instance, store
        functions: list[Any] = []
        for wanted in module.imports:
            signature, function = _implementation(instance, wanted.module, wanted.name or "")
            functions.append(
                wasmtime.Func(store, _function_type(signature), self._adapt(signature, function))
            )
        exports = wasmtime.Instance(store, module, functions).exports(store)
        self._functions: dict[str, Any] = {name: exports[name] for name in _export_names(module)}
        self.memory: wasmtime.Memory = exports["memory"]  # type: ignore[assignment]

    def _adapt(self, signature: str, function: HostFunction) -> Callable[..., Any]:
        kinds = signature.split(">")[0]
        result = "f64" if signature.endswith("f") else "i32"

        def adapted(*values: int) -> Any:
            raw = (wasmtime._ffi.wasmtime_val_raw_t * max(len(kinds), 1))()
            for slot, value in zip(raw, values, strict=False):
                slot.i64 = value
            try:
                function(raw)
            except BaseException as failure:
                self._instance.failure = failure
                raw[0].i32 = ANSWER_STOP
            return getattr(raw[0], result)

        return adapted

    def call(self, name: str, *values: int) -> int:
        self._store.set_epoch_deadline(1)
        try:
            return self._functions[name](self._store, *values) or 0
        except wasmtime.Trap as trap:
            raise Trapped(_trap_reason(trap)) from None

    def reserve(self, need: int) -> int:
        return self.call("io_address", need)


class RawBinding:
    """Calls without type checks: every argument count and type here must match the glue exactly."""

    def __init__(self, instance: Instance, store: wasmtime.Store, module: wasmtime.Module) -> None:
        ffi = wasmtime._ffi
        self._instance, self._context = instance, store._context()
        self._no_finalizer = ctypes.cast(0, ctypes.CFUNCTYPE(None, ctypes.c_void_p))
        self._kept: list[Any] = []  # ctypes callbacks die with their last reference
        self._let_overdue_trap(store)
        imports = module.imports
        externs = (ffi.wasmtime_extern_t * len(imports))()
        for slot, wanted in zip(externs, imports, strict=True):
            signature, function = _implementation(instance, wanted.module, wanted.name or "")
            slot.kind = ffi.WASMTIME_EXTERN_FUNC.value
            self._define(signature, function, slot.of.func)
        raw, trap = ffi.wasmtime_instance_t(), ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_instance_new(
            self._context, module.ptr(), externs, len(imports), ctypes.byref(raw), ctypes.byref(trap)
        )
        invariant(not error and not trap, "the program instantiates")
        self._functions: dict[str, Any] = {}
        for name in _export_names(module):
            self._functions[name] = ctypes.byref(self._export(raw, name).of.func)
        self.memory: wasmtime.Memory = wasmtime.Memory._from_raw(self._export(raw, "memory").of.memory)
        self._arguments = (ffi.wasmtime_val_raw_t * 8)()
        self._nested_arguments = (ffi.wasmtime_val_raw_t * 8)()
        self._trap = ctypes.POINTER(ffi.wasm_trap_t)()
        self._trap_out = ctypes.byref(self._trap)
        self._call = wasmtime._bindings._wasmtime_func_call_unchecked

    def _define(self, signature: str, function: HostFunction, out: Any) -> None:
        instance = self._instance

        def entry(_env: Any, _caller: Any, args: RawArguments, _count: int) -> int:
            try:
                function(args)
            except BaseException as failure:  # raised again by whoever entered; must not cross C frames
                instance.failure = failure
                args[0].i32 = ANSWER_STOP
            return 0

        callback = wasmtime._ffi.wasmtime_func_unchecked_callback_t(entry)
        kind = _function_type(signature)
        self._kept += [callback, kind]
        wasmtime._bindings._wasmtime_func_new_unchecked(
            self._context, kind.ptr(), callback, None, self._no_finalizer, ctypes.byref(out)
        )

    def _let_overdue_trap(self, store: wasmtime.Store) -> None:
        """At an epoch change go on unless this very instance is overdue."""
        ffi, instance = wasmtime._ffi, self._instance

        def decide(_context: Any, _data: Any, ticks: Any, kind: Any) -> int:
            ticks[0], kind[0] = 1, 0
            if not instance.overdue:
                return 0
            error = ffi.wasmtime_error_new(ctypes.create_string_buffer(b"interrupted"))
            return ctypes.cast(error, ctypes.c_void_p).value or 0

        prototype = wasmtime._bindings._wasmtime_store_epoch_deadline_callback.argtypes[1]
        callback = prototype(decide)
        self._kept.append(callback)
        ffi.wasmtime_store_epoch_deadline_callback(store.ptr(), callback, None, self._no_finalizer)

    def _export(self, raw: Any, name: str) -> Any:
        found, encoded = wasmtime._ffi.wasmtime_extern_t(), name.encode()
        present = wasmtime._ffi.wasmtime_instance_export_get(
            self._context,
            ctypes.byref(raw),
            ctypes.create_string_buffer(encoded),
            len(encoded),
            ctypes.byref(found),
        )
        invariant(bool(present), "the program exports what the glue declares", name=name)
        self._kept.append(found)
        return found

    def call(self, name: str, *values: int) -> int:
        return self._call_with(self._arguments, name, values)

    def reserve(self, need: int) -> int:
        """Called from inside a host function too, hence arguments of its own."""
        return self._call_with(self._nested_arguments, "io_address", (need,))

    def _call_with(self, arguments: RawArguments, name: str, values: tuple[int, ...]) -> int:
        for index, value in enumerate(values):
            arguments[index].i32 = value
        error = self._call(self._context, self._functions[name], arguments, 8, self._trap_out)
        if error:
            wasmtime.WasmtimeError._from_ptr(error)  # takes ownership: the text is ours already
            raise Trapped("interrupted")
        if self._trap:
            trap = wasmtime.Trap._from_ptr(self._trap)
            self._trap = ctypes.POINTER(wasmtime._ffi.wasm_trap_t)()
            self._trap_out = ctypes.byref(self._trap)
            raise Trapped(_trap_reason(trap))
        return int(arguments[0].i32)


def _export_names(module: wasmtime.Module) -> list[str]:
    return [export.name for export in module.exports if isinstance(export.type, wasmtime.FuncType)]
