"""Starts the actors of a deployment in order, tells each where the others are, and starts lost ones anew.

Loss is noticed at once by the kernel (pidfd) and by heartbeat over the actor's own socket: a process that
is stopped or hung is ended with SIGKILL, and its successor claims the next epoch. Everything an actor
owns is read from the log again, so replacing one needs no goodbye.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Sequence
from typing import Any, Protocol

from actors.runtime import ConnectionLost
from cluster.config import Settings, cache_folder
from cluster.data_folder import Credentials, DataFolder
from cluster.host_config import SLOW_EXECUTOR, Address, HostConfig, Peers
from cluster.processes import ProcessIdentity, end_processes, is_alive, wait_ended
from cluster.transport import SocketPeer, connect

_logger = logging.getLogger(__name__)
_RETRY_SECONDS = 0.2
_REFUSALS_PER_PROCESS = 25
_HEARTBEAT_SECONDS = 2.0
_STOP_SECONDS_MAX = 10.0
_SHORT_LIFE_SECONDS = 1.0
_SHORT_LIVES_MAX = 5


class LogTaken(Exception):
    """Another server writes to our log now. Taking it back would only go on for ever."""


class ActorHandle(Protocol):
    """One actor process, as a runtime gives it."""

    process: ProcessIdentity | None
    address: Address | None

    async def start(self) -> None: ...

    def replace(self) -> None:
        """Give up the process that does not start: the next `start` is another one's."""

    async def set_peers(self, peers: Peers) -> None: ...

    async def stop(self) -> None: ...


class Runtime(Protocol):
    """Where actor processes come from."""

    def spawn(self, config: HostConfig) -> ActorHandle: ...


class Supervisor:
    """The life of one deployment. `start`, then `watch` until cancelled, then `stop`."""

    def __init__(
        self, runtime: Runtime, settings: Settings, data: DataFolder, credentials: Credentials
    ) -> None:
        self._runtime, self._settings = runtime, settings
        self._data, self._credentials = data, credentials
        self._actors: dict[str, ActorHandle] = {}
        self._restarts: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._back_at: dict[str, float] = {}
        self._short_lives: dict[str, int] = {}
        self._restarting: set[str] = set()

    async def start(self) -> None:
        """The core first (it may refuse), executors beside it; the gateway's ports answer last. Actions can
        wait until `watch` has started who runs them: nobody who starts up does."""
        roles = ["core", *self._executor_roles(), "gateway"]
        for role in roles:
            self._actors[role] = self._runtime.spawn(self._config(role))
        await self._actors["core"].start()
        await asyncio.gather(*(self._actors[role].start() for role in roles[1:]))
        await self._share_peers()
        self._write_running()

    async def watch(self) -> None:
        """Until cancelled: start again what was lost. LogTaken when another server took the log."""
        heartbeat = asyncio.create_task(self._listen_to_hearts())
        watching = [asyncio.create_task(self._watch(role)) for role in self._actors]
        watching.append(asyncio.create_task(self._start_and_watch(SLOW_EXECUTOR)))
        try:
            await asyncio.gather(heartbeat, *watching)
        finally:
            for task in (heartbeat, *watching):
                task.cancel()

    async def _start_and_watch(self, role: str) -> None:
        actor = self._actors[role] = self._runtime.spawn(self._config(role))
        try:
            await actor.start()
            await self._share_peers()
            self._write_running()
        except Exception as failure:  # it is started again like one that was lost
            _logger.warning("%s did not start: %r", role, failure)
        await self._watch(role)

    async def _watch(self, role: str) -> None:
        while True:
            process = self._actors[role].process
            if process is not None:
                await wait_ended(process)
            await self._restart(role)

    async def stop(self) -> None:
        """In the order that lets nobody ask a stopped one; what does not stop in time is killed."""
        for role in ("gateway", SLOW_EXECUTOR, *self._executor_roles(), "core"):
            if role not in self._actors:
                continue
            try:
                await asyncio.wait_for(self._actors[role].stop(), self._stop_seconds_max(role))
            except Exception as failure:  # it is ended by pid below
                _logger.warning("%s did not stop: %r", role, failure)
        self._data.clear_running()

    def _stop_seconds_max(self, role: str) -> float:
        return _STOP_SECONDS_MAX + (self._settings.drain_seconds if role == "gateway" else 0.0)

    def end(self) -> None:
        """By pid, for whatever Ray leaves."""
        processes = [actor.process for actor in self._actors.values() if actor.process is not None]
        end_processes(processes, term_seconds=1.0)

    # --- restarting ---------------------------------------------------------------------------------

    async def _restart(self, role: str) -> None:
        fenced = self._data.fenced() if role == "core" else None
        if fenced is not None:
            raise LogTaken(fenced)
        started = time.monotonic()
        self._restarting.add(role)
        self._restarts[role] = self._restarts.get(role, 0) + 1
        _logger.warning("%s was lost: starting it again", role)
        await asyncio.sleep(self._delay_before_restart(role, started))
        actor = self._actors[role]
        lost, refusals = actor.process, 0
        while actor.process == lost or actor.process is None or not is_alive(actor.process):
            try:
                await actor.start()
            except Exception as failure:
                _logger.info("%s is not there yet: %r", role, failure)
                refusals += 1
                if refusals % _REFUSALS_PER_PROCESS == 0:  # what it holds itself may be in its way: a port
                    _logger.warning("%s does not start (%s): another process tries", role, failure)
                    actor.replace()
                await asyncio.sleep(_RETRY_SECONDS)
        await self._share_peers()
        self._write_running()
        self._heard[role] = self._back_at[role] = time.monotonic()
        self._restarting.discard(role)
        _logger.warning("%s is back after %.1f s", role, time.monotonic() - started)

    def _delay_before_restart(self, role: str, now: float) -> float:
        """None at first; an actor that again and again dies as soon as it is back is started ever
        more slowly."""
        is_short = now - self._back_at.get(role, -math.inf) < _SHORT_LIFE_SECONDS
        self._short_lives[role] = self._short_lives.get(role, 0) + 1 if is_short else 0
        excess = self._short_lives[role] - _SHORT_LIVES_MAX
        return min(0.5 * 2**excess, 30.0) if excess > 0 else 0.0

    async def _share_peers(self) -> None:
        """Tell everyone; whoever cannot be told is lost and will be told when it is back."""
        core = self._actors["core"].address
        if core is None:
            return
        peers = Peers(core, self._addresses(self._executor_roles()), self._addresses([SLOW_EXECUTOR]))
        told = (actor.set_peers(peers) for actor in self._actors.values() if actor.process is not None)
        for outcome in await asyncio.gather(*told, return_exceptions=True):
            if isinstance(outcome, Exception):
                _logger.info("an actor could not be told its peers: %r", outcome)

    def _addresses(self, roles: Sequence[str]) -> dict[str, Address]:
        there = {role: self._actors[role].address for role in roles if role in self._actors}
        return {role: address for role, address in there.items() if address is not None}

    async def _listen_to_hearts(self) -> None:
        peers: dict[str, tuple[Address, SocketPeer]] = {}
        while True:
            await asyncio.sleep(_HEARTBEAT_SECONDS)
            roles = [role for role in self._actors if role not in self._restarting]
            await asyncio.gather(*(self._listen_to(role, peers) for role in roles))

    async def _listen_to(self, role: str, peers: dict[str, tuple[Address, SocketPeer]]) -> None:
        actor = self._actors[role]
        if actor.address is None or actor.process is None:
            return
        now = time.monotonic()
        self._heard.setdefault(role, now)
        try:
            known = peers.get(role)
            if known is None or known[0] != actor.address or not known[1].is_open:
                peer = await connect(*actor.address, self._credentials.instance_secret, _ignore, _nothing)
                known = peers[role] = (actor.address, peer)
            await asyncio.wait_for(known[1].call("ping"), _HEARTBEAT_SECONDS)
            self._heard[role] = now
        except (ConnectionLost, TimeoutError):
            silent_seconds = now - self._heard[role]
            if silent_seconds > self._settings.silence_seconds_max and is_alive(actor.process):
                _logger.error("%s has not answered for %.0f s: ending it", role, silent_seconds)
                end_processes([actor.process], term_seconds=0.0)

    # --- facts --------------------------------------------------------------------------------------

    def _executor_roles(self) -> list[str]:
        return [f"executor-{number}" for number in range(1, self._settings.executors + 1)]

    def _config(self, role: str) -> HostConfig:
        settings = self._settings
        return HostConfig(
            role=role,
            data_folder=str(self._data.path),
            cache_folder=str(cache_folder()),
            host=settings.host,
            port=settings.port,
            site_port=settings.site_port,
            instance_name=self._credentials.instance_name,
            instance_secret=self._credentials.instance_secret,
            cloud_origin=settings.cloud_origin_in_use,
            site_origin=settings.site_origin_in_use,
            redact_errors=settings.redact_errors,
            trusted_proxies=settings.trusted_proxies,
            egress_refuse_private=settings.egress_refuse_private,
            drain_seconds=settings.drain_seconds,
            sink_file=os.path.abspath(settings.sink_file) if settings.sink_file else "",
            sink_url=settings.sink_url,
            log_format=settings.log_format,
            log_level=settings.log_level,
            actions_at_once_max=settings.actions_at_once_max,
            node_actions_at_once_max=settings.node_actions_at_once_max,
            log_url=settings.log_url,
            files_url=settings.files_url,
        )

    def _write_running(self) -> None:
        """For `tidelog status`, and for the next start to end what is left of us."""
        actors: dict[str, Any] = {}
        for role, actor in self._actors.items():
            if actor.process is not None:
                facts = {"pid": actor.process.pid, "start_ticks": actor.process.start_ticks}
                actors[role] = {**facts, "address": actor.address, "restarts": self._restarts.get(role, 0)}
        self._data.write_running({"actors": actors, "url": self._settings.cloud_origin_in_use})


def _ignore(event: str, arguments: tuple[Any, ...]) -> None:
    return None


def _nothing() -> None:
    return None
