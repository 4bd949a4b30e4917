"""What a small POST to an HTTP action costs: `python -m tests.benchmarks.http_actions`. Asserts nothing.

Calls one after the other on one connection, each written as one segment, on a server of their own. CPU time
is that of the gateway and of the slow executor, per call.
"""

from __future__ import annotations

import os
import socket
import time

from ..support.server import CONFORMANCE_APP, RunningServer, server_with

CALLS = 2_000
ROUNDS = 3
ROLES = ("gateway", "slow-executor")
BODY = b'{"name":"x","text":"' + b"y" * 100 + b'"}'
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def post(connection: socket.socket, calls: int) -> None:
    head = f"POST /json HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
    for _ in range(calls):
        connection.sendall(head + BODY)
        answer = b""
        while not answer.endswith(BODY):
            received = connection.recv(65_536)
            assert received, answer
            answer += received


def measure(server: RunningServer) -> None:
    pids = [server.pid_of(role) for role in ROLES]
    with socket.create_connection(("127.0.0.1", server.site_port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        post(connection, CALLS // 10)
        for _ in range(ROUNDS):
            before, started = [cpu_seconds(pid) for pid in pids], time.perf_counter()
            post(connection, CALLS)
            wall_us = (time.perf_counter() - started) / CALLS * 1e6
            used = [(cpu_seconds(pid) - then) / CALLS * 1e6 for pid, then in zip(pids, before, strict=True)]
            shown = ", ".join(f"{role} {us:.0f} us" for role, us in zip(ROLES, used, strict=True))
            print(f"CPU per call: {sum(used):.0f} us ({shown}); wall {wall_us:.0f} us")


def main() -> None:
    with server_with(CONFORMANCE_APP) as server:
        measure(server)


if __name__ == "__main__":
    main()
