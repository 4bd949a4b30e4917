"""What a process is told: first the settings and credentials that concern it, then where everybody is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cluster.process_log import TEXT
from log.limits import ACTIONS_RUNNING_MAX, NODE_ACTIONS_RUNNING_MAX

SLOW_EXECUTOR = "slow-executor"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Everything a process needs to know. Plain values: it travels through Ray."""

    role: str  # "core" | "executor-<n>" | "slow-executor" | "gateway"
    data_folder: str
    cache_folder: str
    host: str
    port: int
    site_port: int
    instance_name: str
    instance_secret: bytes
    cloud_origin: str
    site_origin: str
    redact_errors: bool
    log_url: str = field(default="", repr=False)  # empty: in the data folder. It may hold a password
    files_url: str = ""  # empty: in the data folder
    egress_refuse_private: bool = False
    drain_seconds: float = 0.0
    trusted_proxies: str = ""  # addresses and networks, separated by commas
    sink_file: str = ""  # absolute; empty: none
    sink_url: str = field(default="", repr=False)  # empty: none. It may hold a key
    log_format: str = TEXT
    log_level: str | None = None  # None: what suits where it goes
    actions_at_once_max: int = ACTIONS_RUNNING_MAX
    node_actions_at_once_max: int = NODE_ACTIONS_RUNNING_MAX


@dataclass(frozen=True, slots=True)
class Peers:
    """Where everyone is."""

    core: Address
    executors: dict[str, Address]
    slow_executors: dict[str, Address] = field(default_factory=dict)


class Host(Protocol):
    """One process's part of a deployment."""

    async def start(self) -> Address: ...

    async def set_peers(self, peers: Peers) -> None: ...

    async def stop(self) -> None: ...
