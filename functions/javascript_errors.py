"""From what the engine reports to the outcomes of functions/isolate.py: thrown values and terminations."""

from __future__ import annotations

import json
import re

from functions.host_imports import Trapped
from functions.isolate import Frame, Settled, Terminated, Thrown
from functions.sandbox import Instance
from log.errors import internal_server_error
from log.invariant import invariant
from log.limits import JAVASCRIPT_HEAP_BYTES_MAX, MIB

STACK_LINE = re.compile(
    r"^\s*at (?P<async>async )?(?:(?P<function>.*) \()?"
    r"convex:/(?P<module>[^\s():]+):(?P<line>\d+):(?P<column>\d+)\)?$"
)


def frames_of(stack: str) -> tuple[Frame, ...]:
    """Frames of user modules; lines of the prelude, of native functions and of eval are left out."""
    frames = []
    for line in stack.split("\n"):
        found = STACK_LINE.match(line)
        if found:
            function = found["function"]
            name = None if function in (None, "", "<anonymous>") else function
            place = (found["module"], int(found["line"]), int(found["column"]))
            frames.append(Frame(name, *place, is_async=found["async"] is not None))
    return tuple(frames)


def thrown_from_json(description: bytes) -> Thrown:
    """What `describe` of the prelude says about a thrown value (spec 03 3.6)."""
    facts = json.loads(description or b'{"isError": false, "message": ""}')
    if not facts["isError"]:
        return Thrown(name="", message=facts["message"], is_error=False)
    data = facts.get("data")
    return Thrown(
        name=facts["name"],
        message=facts["message"],
        frames=frames_of(facts["stack"]),
        data_json=data.encode() if facts["convexError"] and data is not None else None,
    )


def timed_out(limit_seconds: float) -> Terminated:
    return Terminated(f"Function execution timed out (maximum duration: {limit_seconds:g}s)", "timeout")


def out_of_memory() -> Terminated:
    limit = f"{JAVASCRIPT_HEAP_BYTES_MAX // MIB} MB"
    return Terminated(f"JavaScript execution ran out of memory (maximum memory usage: {limit})", "memory")


def interrupted(instance: Instance, is_timeout: bool, limit_seconds: float) -> Terminated:
    """Why the interrupt flag was set. A failed host call comes first: it set the flag itself."""
    if instance.failure is not None:
        return Terminated(str(instance.failure), "host", instance.failure)
    if instance.control.exhausted:
        return out_of_memory()
    invariant(is_timeout, "an interrupted call has a reason")
    return timed_out(limit_seconds)


def trapped(trap: Trapped, limit_seconds: float) -> Thrown | Terminated:
    """A trap has lost the instance; native recursion that outran the engine's own check is a RangeError."""
    if trap.reason == "stack":
        return Thrown("RangeError", "Maximum call stack size exceeded")
    if trap.reason == "interrupted":
        return timed_out(limit_seconds)
    return Terminated(internal_server_error().message, "host", trap)


def with_module_errors(analysis: bytes, errors: dict[str, Thrown | Terminated]) -> bytes:
    """The result of "analyze" where modules that could not be evaluated show their own error."""
    modules = json.loads(analysis)
    for path in modules.keys() & errors.keys():
        modules[path] = {"error": text_of(errors[path])}
    return json.dumps(modules).encode()


def text_of(error: Settled) -> str:
    """First line of an error as developers read it (spec 03 3.6)."""
    if isinstance(error, Thrown):
        return "Uncaught" + "".join(
            f"{separator}{part}"
            for separator, part in zip(
                (" ", ": " if error.name else " "), (error.name, error.message), strict=True
            )
            if part
        )
    return error.message if isinstance(error, Terminated) else ""
