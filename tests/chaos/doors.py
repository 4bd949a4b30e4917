"""Which sockets the processes of a server listen on, as the kernel tells it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from ..support.server import RunningServer
from .operator import processes_of

LISTENS = "0A"


def listeners() -> dict[str, tuple[str, int]]:
    """(address, port) of every listening TCP socket of this network, by inode."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTENS:
                address, port = local.split(":")
                found[rest[5]] = (_address(address), int(port, 16))
    return found


def _address(hexadecimal: str) -> str:
    """The kernel writes words of four bytes, each as this machine keeps it (little-endian)."""
    raw = bytes.fromhex(hexadecimal)
    packed = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    parsed = ipaddress.ip_address(packed)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def doors(server: RunningServer) -> Iterator[tuple[str, str, int]]:
    """(program, address, port) of every listening socket of a server's processes."""
    listening = listeners()
    for process in processes_of(server):
        folder = Path(f"/proc/{process.pid}")
        program = Path((folder / "cmdline").read_bytes().split(b"\0")[0].decode()).name
        for descriptor in (folder / "fd").iterdir():
            try:
                inode = os.readlink(descriptor).removeprefix("socket:[").removesuffix("]")
            except FileNotFoundError:
                continue  # closed meanwhile
            if inode in listening:
                yield program, *listening[inode]


def own_ports(server: RunningServer) -> set[int]:
    actors = {actor["address"][1] for actor in server.actors().values()}
    return {server.port, server.site_port, *actors}
