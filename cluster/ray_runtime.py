"""Actors as Ray actor processes. The only file that imports ray (design D14, D15).

Ray places the processes, starts them again and carries control calls (start, peers, stop); requests travel
over our own sockets. A Ray process hosts one `cluster.hosts.Host` on an event loop in a thread of its own,
so that control calls and requests do not wait for each other.

Ray is no fence: what makes a replaced writer harmless is the epoch in the log store (design D5).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from actors.node_packages import FOLDER_VARIABLE
from cluster.data_folder import DataFolder
from cluster.host_config import Address, Host, HostConfig, Peers
from cluster.hosts import make_host
from cluster.process_log import log_to_file
from cluster.processes import (
    ProcessIdentity,
    end_processes,
    identify,
    processes_mentioning,
    processes_with_variable,
    processes_writing,
)

_OBJECT_STORE_BYTES = 80 << 20
_THREAD_STACK_BYTES = 64 << 20  # JavaScript nests on it (labs: 256 KiB of JavaScript stack and more)
_END_SECONDS = 3.0
_GC_THRESHOLDS = (50_000, 20, 50)  # requests make little that lives; the default walks often


class ActorProcess:
    """The class Ray makes an actor of. Control calls only; each runs on a Ray thread."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        logs = DataFolder(Path(config.data_folder)).logs
        log_to_file(logs, config.role, config.log_format, config.log_level)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._host: Host | None = None

    def start(self) -> tuple[int, Address]:
        """Host the role; returns (pid, address). A second start in one process answers the same."""
        if self._host is None:
            self._loop = self._loop or _loop_in_thread()
            host = make_host(self._config)
            self._address = self._run(host.start())
            self._host = host  # AFTER its start: one that failed (the log's server is away) is made again
            gc.collect()
            gc.freeze()  # what start-up made lives as long as the process: do not walk it again
            gc.set_threshold(*_GC_THRESHOLDS)
        return os.getpid(), self._address

    def set_peers(self, peers: Peers) -> None:
        if self._host is not None:
            self._run(self._host.set_peers(peers))

    def stop(self) -> None:
        if self._host is not None:
            self._run(self._host.stop())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _loop_in_thread() -> asyncio.AbstractEventLoop:
    import uvloop

    loop = uvloop.new_event_loop()
    before = threading.stack_size(_THREAD_STACK_BYTES)
    threading.Thread(target=loop.run_forever, name="actor", daemon=True).start()
    threading.stack_size(before)
    return loop


class RayRuntime:
    """One local Ray cluster, its own: started for a data folder and ended with it."""

    def __init__(self, data_folder: Path) -> None:
        digest = hashlib.sha256(str(data_folder.resolve()).encode()).hexdigest()[:8]
        self.session_folder = Path(tempfile.gettempdir()) / f"tidelog-{os.getuid()}-{digest}"
        self._token_path = data_folder / "run" / "ray_token"
        self._node_folder = DataFolder(data_folder).node
        self._packages_folder = DataFolder(data_folder).node_packages.resolve()  # as npm is told it

    def end_leftovers(self) -> None:
        """End what an earlier start for this data folder left behind; nothing else is touched.

        Workers whose raylet was killed but not reaped do not notice (measured): they are found by the
        token's path in their environment, Node processes by the folder of their modules, and npm by a
        variable of ours: the folder of the packages is one that other processes may name as well. Ray's
        agents blank their environment with their title (measured): their output goes to the session's logs.
        """
        folders = (self.session_folder, self._token_path, self._node_folder)
        ours = [
            *processes_mentioning(*map(str, folders)),
            *processes_writing(self.session_folder),
            *processes_with_variable(FOLDER_VARIABLE, str(self._packages_folder)),
        ]
        end_processes(set(ours), term_seconds=_END_SECONDS)
        shutil.rmtree(self.session_folder, ignore_errors=True)

    def start(self, executors: int) -> None:
        self.session_folder.mkdir(mode=0o700)  # Ray opens what it makes itself to everyone (0777)
        self._write_token()
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(self._token_path),
            RAY_USAGE_STATS_ENABLED="0",
            RAY_worker_niceness="0",
            RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
            # One node alone: its address is 127.0.0.1, and then every port of Ray is on loopback only. Else
            # Ray listens on all interfaces (measured), and turns `_node_ip_address` of 127.0.0.1 away.
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
            # The autoscaler would serve metrics to anybody at 44217. There is no switch, but it goes on
            # without them when it cannot listen, and at -1 nobody can (measured).
            AUTOSCALER_METRIC_PORT="-1",
        )
        import ray

        ray.init(
            address="local",
            num_cpus=executors,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="tidelog",
            _temp_dir=str(self.session_folder / "ray"),
        )

    def spawn(self, config: HostConfig) -> RayActor:
        import ray

        remote = ray.remote(ActorProcess).options(
            name=config.role, num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=4
        )
        return RayActor(remote.remote(config))

    def stop(self) -> None:
        """End the cluster and see to it that none of its processes is left."""
        import ray

        with contextlib.suppress(Exception):
            ray.shutdown()
        self.end_leftovers()
        self._token_path.unlink(missing_ok=True)

    def _write_token(self) -> None:
        """Ray would write one readable by everyone (measured: 0644)."""
        self._token_path.unlink(missing_ok=True)
        descriptor = os.open(self._token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


class RayActor:
    """The supervisor's handle of one actor process."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.process: ProcessIdentity | None = None
        self.address: Address | None = None

    async def start(self) -> None:
        """Start, or start again after Ray replaced the process; waits until it answers."""
        from ray.exceptions import RayTaskError

        try:
            pid, address = await self._handle.start.remote()
        except RayTaskError as failure:
            raise failure.cause from None  # a refusal as it was raised, without its way through Ray
        self.process, self.address = identify(pid), tuple(address)

    def replace(self) -> None:
        """A worker listens on ports that Ray draws at random, and so may hold one of ours (measured)."""
        import ray

        ray.kill(self._handle, no_restart=False)

    async def set_peers(self, peers: Peers) -> None:
        await self._handle.set_peers.remote(peers)

    async def stop(self) -> None:
        await self._handle.stop.remote()
