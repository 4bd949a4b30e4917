"""What one process hosts: an actor, its socket server, its connections to the others.

Independent of how the process came to be (Ray, or a test). A host is told the addresses of all actors by
the supervisor (`set_peers`), connects to those it needs, and connects again when one changed or was lost.
An unexpected failure ends the process: the supervisor starts it anew from the log.
"""

from __future__ import annotations

from cluster.host_config import SLOW_EXECUTOR, Host, HostConfig


def make_host(config: HostConfig) -> Host:
    """Each role is imported by its own process alone: what it does not need takes no memory there."""
    if config.role == "core":
        from cluster.core_host import CoreHost

        return CoreHost(config)
    if config.role == "gateway":
        from cluster.gateway_host import GatewayHost

        return GatewayHost(config)
    from cluster.executor_host import ExecutorHost, SlowExecutorHost

    return SlowExecutorHost(config) if config.role == SLOW_EXECUTOR else ExecutorHost(config)
