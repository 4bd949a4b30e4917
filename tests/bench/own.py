"""Figures only our server has: syncs per commit, re-runs per change, memory by process, start, replay.

They are read from outside: the actors' status over their sockets, /proc, and the data folder of a stopped
server. Nothing in the product knows that it is measured.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.calls import RunCall, wire_call
from actors.index_shard import IndexShard
from actors.runtime import Pauses
from cluster.config import Settings
from cluster.transport import connect
from log.record import CommitBody, RecordKind
from log.sqlite_store import SqliteStore

from .proc import cpu_seconds, load_average, memory_mib, tree
from .shapes import Figure, Shape, run_shape
from .systems import Tidelog

_EXECUTOR_SECONDS = 2.5
_IDLE_SECONDS = 4.0
_CHANGES = 10
_START_SECONDS_MAX = 90


def syncs_per_commit(tidelog: Tidelog, shape: Shape) -> Figure:
    """How many records share one sync of the log under this load (design D2: group commit)."""
    before = tidelog.server.ask("core", "status")
    run_shape(tidelog, shape)
    after = tidelog.server.ask("core", "status")
    batches = after["batches_synced"] - before["batches_synced"]
    records = after["records_synced"] - before["records_synced"]
    values = {"syncs_per_commit": round(batches / max(1, records), 3), "commits": records}
    return Figure(tidelog.name, f"syncs, {shape.name}", values)


def runs_per_change(tidelog: Tidelog, subscribers: int) -> Figure:
    """Query runs per change that all subscribers see (owed: 1) and per change that none sees (owed: 0)."""
    driver = tidelog.driver
    driver.ask("subscribe", count=subscribers)
    try:
        driver.ask("notify", rounds=1, pause_ms=300)
        seen = _calls_during(tidelog, lambda: driver.ask("notify", rounds=_CHANGES, pause_ms=150))
        unseen = _calls_during(tidelog, lambda: driver.ask("insert_elsewhere", rounds=_CHANGES))
    finally:
        driver.ask("unsubscribe")
    values = {  # each change is a mutation, which is a call too
        "runs_per_relevant_change": seen / _CHANGES - 1,
        "runs_per_irrelevant_change": unseen / _CHANGES - 1,
    }
    return Figure(tidelog.name, f"runs per change, {subscribers} subscribers", values)


def idle(tidelog: Tidelog) -> list[Figure]:
    """Memory and CPU of a server that nobody uses: each process of ours, and Ray's own together."""
    pids = tree(tidelog.roots())
    used = {pid: cpu_seconds([pid]) for pid in pids}
    time.sleep(_IDLE_SECONDS)
    roles = {facts["pid"]: role for role, facts in tidelog.server.actors().items()}
    roles[tidelog.roots()[0]] = "supervisor"
    figures = []
    totals = {"ours": [0.0, 0.0, 0.0], "ray": [0.0, 0.0, 0.0]}
    for pid in pids:
        cpu_ms = (cpu_seconds([pid]) - used[pid]) * 1000 / _IDLE_SECONDS
        mib = memory_mib([pid])
        total = totals["ours" if pid in roles else "ray"]
        total[:] = [total[0] + mib, total[1] + cpu_ms, total[2] + 1]
        if pid in roles:
            figures.append(_idle_figure(tidelog, roles[pid], mib, cpu_ms, 1))
    for owner, (mib, cpu_ms, count) in totals.items():
        figures.append(_idle_figure(tidelog, f"all of {owner}", mib, cpu_ms, int(count)))
    return figures


def _idle_figure(tidelog: Tidelog, who: str, mib: float, cpu_ms: float, processes: int) -> Figure:
    values = {"processes": processes, "mib": round(mib, 1), "cpu_ms_per_second": round(cpu_ms, 1)}
    return Figure(tidelog.name, f"idle, {who}", values)


def cold_start(tidelog: Tidelog) -> Figure:
    """From starting the command (Ray included) to the first acknowledged mutation. The server is stopped."""
    body = json.dumps({"path": "bench:increment", "args": {"name": "cold"}, "format": "json"}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{tidelog.server.url}/api/mutation", body, headers)
    started = time.monotonic()
    tidelog.server.start()
    while time.monotonic() - started < _START_SECONDS_MAX:
        with suppress(OSError), urllib.request.urlopen(request, timeout=5) as reply:
            if json.load(reply)["status"] == "success":
                break
        time.sleep(0.02)
    seconds = round(time.monotonic() - started, 2)
    return Figure(tidelog.name, "cold start to first ack", {"seconds": seconds, "load": load_average()})


def executor_rate(tidelog: Tidelog, path: str, args: str) -> Figure:
    """Queries per CPU-second of one executor through its own socket, four at a time, never cached."""
    done, seconds, cpu = asyncio.run(_call_executor(tidelog, path, args.encode()))
    values = {
        "per_cpu_second": round(done / cpu),
        "per_second": round(done / seconds),
        "cpu_us_call": round(cpu * 1e6 / done),
        "load": load_average(),
    }
    return Figure(tidelog.name, f"executor, {path}", values)


async def _call_executor(tidelog: Tidelog, path: str, args: bytes) -> tuple[int, float, float]:
    facts = tidelog.server.actors()["executor-1"]
    secret = tidelog.server.data.credentials(Settings()).instance_secret
    host, port = facts["address"]
    peer = await connect(host, port, secret, lambda *_: None, lambda: None)
    call = RunCall("Query", path, "", args, "user", None, "bench", None, bytes(16), None, None)
    wire = wire_call(call)
    done = 0

    async def loop(seconds: float) -> None:
        nonlocal done
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            outcome = await peer.call("run", wire, None)
            if outcome[1] is not None:
                raise RuntimeError(f"{path} failed: {outcome[1]}")
            done += 1

    try:
        await loop(0.5)
        done, before, started = 0, cpu_seconds([facts["pid"]]), time.monotonic()
        await asyncio.gather(*(loop(_EXECUTOR_SECONDS) for _ in range(4)))
        return done, time.monotonic() - started, cpu_seconds([facts["pid"]]) - before
    finally:
        peer.close()


def replay(tidelog: Tidelog, scratch: Path) -> list[Figure]:
    """Reading, checking and decoding the log, and folding it into a new view. The server is stopped."""
    started = time.process_time()
    store = SqliteStore(tidelog.server.data.log)  # opening proves the chain of every record
    records = documents = 0
    for record in store.read_from(1):
        records += 1
        if record.kind is RecordKind.COMMIT:
            documents += len(CommitBody.decode(record.body).writes)
    read_seconds = time.process_time() - started
    started = time.process_time()
    shard = IndexShard(scratch / "rebuilt", Pauses())
    shard.catch_up(store)
    fold_seconds = time.process_time() - started
    shard.close(clean=False)
    store.close()
    shutil.rmtree(scratch / "rebuilt", ignore_errors=True)
    return [
        Figure(tidelog.name, "replay, verify and decode", {"records_s": round(records / read_seconds)}),
        Figure(tidelog.name, "replay, rebuild a view", {"documents_s": round(documents / fold_seconds)}),
    ]


def _calls_during(tidelog: Tidelog, step: Callable[[], Any]) -> int:
    before = _calls_run(tidelog)
    step()
    return _calls_run(tidelog) - before


def _calls_run(tidelog: Tidelog) -> int:
    roles = [role for role in tidelog.server.actors() if role.startswith("executor")]
    return sum(int(tidelog.server.ask(role, "status")["calls_run"]) for role in roles)
