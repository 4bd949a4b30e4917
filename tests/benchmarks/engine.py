"""Figures of the JavaScript engine: `python -m tests.benchmarks.engine`. Prints, asserts nothing.

CPU time of the calling thread, median and minimum; trust ratios more than absolute numbers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from functions.isolate import CallRequest, Returned
from functions.quickjs import JavaScriptIsolate

from ..support.javascript import FUNCTION, NOW_MS, RecordingHost, bundle, engine, image_request
from .deploy import modules as large_modules

LARGE_MODULES = 65
DOCUMENT = (
    b'{"_creationTime":1700000000000,"_id":"id1","author":"ann","body":"hello there","channel":"general"}'
)


class Host(RecordingHost):
    """Answers at once and remembers nothing."""

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        return b'{"value":null,"done":true}' if name == "1.0/queryStreamNext" else DOCUMENT

    def syscall(self, name: str, args: bytes) -> bytes:
        return b'{"queryId":1}'


def measure(label: str, step: Callable[[], object], repeats: int = 1000) -> None:
    """Print the CPU time of a step."""
    times = []
    for _ in range(repeats):
        before = time.thread_time_ns()
        step()
        times.append((time.thread_time_ns() - before) / 1000)
    times.sort()
    median = statistics.median(times)
    print(f"{label:<34} median {median:8.1f} us  min {times[0]:8.1f} us  {1e6 / median:8.0f} per CPU-second")


def main() -> None:
    modules = bundle("chat")
    started = time.perf_counter()
    image = engine().build_image(image_request(modules))
    print(
        f"engine and image {time.perf_counter() - started:.2f} s; {image.bytes_held / 1e6:.2f} MB image",
        end="",
    )
    print(f" in {len(image.runs)} runs; bundle {sum(map(len, modules.values())) / 1e3:.0f} kB")
    isolate, host = engine().isolate(), Host()

    def call(name: str, args: bytes, kind: str = "query") -> Callable[[], object]:
        request = CallRequest("call", ("messages.js", name, kind), args, now_ms=NOW_MS)

        def step() -> None:
            settled = isolate.start(image, request, host)
            assert isinstance(settled, Returned), settled

        return step

    measure("noop", call("noop", b"[{}]"))
    measure("restore alone", lambda: restore(isolate, image.runs))
    measure("query, one db.get", call("one", b'[{"id":"id1"}]'), repeats=3000)
    measure("query, index read", call("list", b'[{"channel":"general"}]'))
    measure("mutation, insert and patch", call("send", b'[{"channel":"general","body":"hi"}]', "mutation"))
    measure("query, 20 parallel gets", call("many", b'[{"count":20}]'))
    measure_large(host)


def measure_large(host: Host) -> None:
    """A call of an app whose image is as large as they may reasonably be."""
    sources = {module["path"]: module["source"].encode() for module in large_modules(0, LARGE_MODULES)}
    sources["noop.js"] = (FUNCTION + "export const f = query(() => null);").encode()
    image = engine().build_image(image_request(sources))
    print(f"{image.bytes_held / 1e6:.2f} MB image in {len(image.runs)} runs; {len(sources)} modules")
    isolate, request = (
        engine().isolate(),
        CallRequest("call", ("noop.js", "f", "query"), b"[{}]", now_ms=NOW_MS),
    )

    def step() -> None:
        settled = isolate.start(image, request, host)
        assert isinstance(settled, Returned), settled

    measure("noop of a large app", step)


def restore(isolate: JavaScriptIsolate, runs: tuple[tuple[int, bytes], ...]) -> None:
    instance = isolate._instance
    if instance is not None:
        instance.restore(runs)


if __name__ == "__main__":
    main()
