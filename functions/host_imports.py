"""What a WebAssembly instance shares with its host: the control block, the imports, the ways to end.

Known to functions/sandbox.py, which runs instances, and to their users; nothing here runs anything.
"""

from __future__ import annotations

import ctypes
from typing import Protocol


class Trapped(Exception):
    """WebAssembly was ended by the runtime; `reason` is "interrupted", "stack" or the trap's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Control(ctypes.Structure):
    """`struct control` of functions/engine/glue.h."""

    _fields_ = [
        ("now_ms", ctypes.c_double),
        ("seed", ctypes.c_uint8 * 32),
        ("out_address", ctypes.c_uint32),
        ("out_length", ctypes.c_uint32),
        ("interrupt", ctypes.c_int32),
        ("exhausted", ctypes.c_int32),
        ("observed", ctypes.c_int32),
        ("executing", ctypes.c_int32),
        ("clock_live", ctypes.c_int32),
        ("dynamic_import", ctypes.c_int32),
    ]


class Refusal(bytes):
    """JSON {"message", "data"?} that becomes a JavaScript error."""


class Imports(Protocol):
    """What the program may call. Answers: bytes, None (later), or an already encoded refusal."""

    def syscall(self, name: bytes, args: bytes) -> bytes | Refusal: ...
    def async_syscall(self, call_id: int, name: bytes, args: bytes) -> bytes | Refusal | None: ...
    def console(self, level: bytes, messages_json: bytes) -> None: ...
    def operation(self, request: bytes, data: bytes) -> bytes | Refusal: ...
    def load_module(self, name: bytes) -> bytes | Refusal: ...
    def now_ms(self) -> float: ...


class NoImports:
    """The imports of an instance nobody has entered yet."""

    def syscall(self, name: bytes, args: bytes) -> bytes | Refusal:
        raise RuntimeError("no call is running")

    def async_syscall(self, call_id: int, name: bytes, args: bytes) -> bytes | Refusal | None:
        raise RuntimeError("no call is running")

    def console(self, level: bytes, messages_json: bytes) -> None:
        raise RuntimeError("no call is running")

    def operation(self, request: bytes, data: bytes) -> bytes | Refusal:
        raise RuntimeError("no call is running")

    def load_module(self, name: bytes) -> bytes | Refusal:
        raise RuntimeError("no call is running")

    def now_ms(self) -> float:
        return 0.0
