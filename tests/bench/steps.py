"""Where a call's CPU goes: the executor and the core in one process, with stopwatches around their steps.

`python -m tests.bench steps` pushes the app to a real server, stops it, opens its data folder here and calls
functions. A stopwatch counts its step's own CPU, without that of the stopwatches inside it, on the thread it
runs on; each costs about two microseconds, so steps are few and coarse. The gateway and the sockets are not
here: their share is what the whole server uses beyond these sums.
"""

from __future__ import annotations

import asyncio
import functools
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import actors.core
import actors.executor
import actors.index_shard
import cluster.local_runtime
import functions.function_run
import functions.invocation
import functions.quickjs
import functions.sandbox
import functions.transaction
import log.committer
import log.read_set
import log.record
import log.sqlite_store
from actors.calls import RunCall, wire_call
from actors.executor_settings import ExecutorSettings
from cluster.config import Settings, cache_folder
from cluster.local_runtime import DirectPeer, LocalRuntime

from .systems import Tidelog

_WARM_UPS = 40
_CALLS = 400
_BODY = b"x" * 120

CALLS = (
    ("Query", "bench:trivial", b"[{}]"),
    ("Query", "bench:newest", b'[{"channel":"c7"}]'),
    ("Mutation", "bench:insert", b'[{"channel":"c7","body":"%s","tag":0}]' % _BODY),
    ("Mutation", "bench:increment", b'[{"name":"steps"}]'),
)
"""(type, path, arguments) of what is measured."""

STEPS: tuple[tuple[str, Any, str], ...] = (
    ("messages packed and unpacked", cluster.local_runtime, "_copied"),
    ("restore the image", functions.sandbox.Instance, "restore"),
    ("JavaScript", functions.sandbox.RawBinding, "call"),
    ("host calls: reads and writes", functions.function_run.FunctionRun, "async_syscall"),
    ("host calls: reads and writes", functions.function_run.FunctionRun, "syscall"),
    ("around JavaScript: arguments, result", functions.invocation.Runner, "run"),
    ("encode the commit", functions.transaction.Transaction, "commit_body"),
    ("encode the commit", log.record.CommitBody, "encode"),
    ("decode the commit", log.record.CommitBody, "decode"),
    ("decode the commit", log.read_set.ReadSet, "decode"),
    ("check and admit", log.committer.Committer, "propose"),
    ("append and sync", log.sqlite_store.SqliteStore, "append_and_sync"),
    ("publish", log.committer.Committer, "advance"),
    ("fold into the view", actors.index_shard.IndexShard, "follow"),
    ("compare with subscriptions", actors.core.Core, "follow"),
)
"""(step, where, name of the function): functions of one step add up."""

REST = "the rest: event loop, tasks, transaction set-up"


class Stopwatches:
    """Own CPU by step. Nested steps are subtracted from the step around them, per thread."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._nested = threading.local()

    def around(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        nested = self._nested

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            outer = getattr(nested, "seconds", 0.0)
            nested.seconds = 0.0
            started = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                used = time.thread_time() - started
                self.seconds[step] += used - nested.seconds
                nested.seconds = outer + used

        return timed

    def attach(self) -> None:
        """Around every step, for the rest of this process's life."""
        for step, owner, name in STEPS:
            found = vars(owner)[name]
            if isinstance(found, staticmethod | classmethod):
                setattr(owner, name, type(found)(self.around(step, found.__func__)))
            else:
                setattr(owner, name, self.around(step, found))


def measure_steps(tidelog: Tidelog) -> str:
    """One block of lines per call. The server is stopped, its data folder has the app."""
    watches = Stopwatches()
    watches.attach()
    return asyncio.run(_measure_all(tidelog, watches))


async def _measure_all(tidelog: Tidelog, watches: Stopwatches) -> str:
    from functions.quickjs import Engine

    data = tidelog.server.data
    known = data.credentials(Settings())
    settings = ExecutorSettings(known.instance_name, known.instance_secret, tidelog.server.url, "")
    runtime = LocalRuntime(data.path, Engine(cache_folder()), settings)
    await runtime.start()
    peer = DirectPeer(runtime.executor, lambda *_: None)
    try:
        for _ in range(20):  # something to read
            await _call(peer, *CALLS[2])
        return "\n".join([await _measure(peer, watches, *call) for call in CALLS])
    finally:
        await runtime.stop()


async def _measure(peer: DirectPeer, watches: Stopwatches, udf_type: str, path: str, args: bytes) -> str:
    for _ in range(_WARM_UPS):
        await _call(peer, udf_type, path, args)
    watches.seconds.clear()
    walls = []
    cpu_started = time.process_time()
    for _ in range(_CALLS):
        sent = time.perf_counter()
        await _call(peer, udf_type, path, args)
        walls.append(time.perf_counter() - sent)
    total_us = (time.process_time() - cpu_started) / _CALLS * 1e6
    own = {step: seconds / _CALLS * 1e6 for step, seconds in watches.seconds.items()}
    own[REST] = total_us - sum(own.values())
    lines = [f"{path}: {total_us:.0f} us CPU, {statistics.median(walls) * 1e3:.2f} ms p50"]
    lines += [f"  {used:6.0f} us  {step}" for step, used in sorted(own.items(), key=lambda item: -item[1])]
    return "\n".join(lines)


async def _call(peer: DirectPeer, udf_type: str, path: str, args: bytes) -> None:
    call = RunCall(udf_type, path, "", args, "user", None, "steps", None, os.urandom(16), None, None)
    outcome = await peer.call("run", wire_call(call), None)
    if outcome[1] is not None:
        raise RuntimeError(f"{path} failed: {outcome[1]}")
