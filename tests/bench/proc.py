"""CPU time and memory of process trees, read from /proc. Linux only, like the server.

A tree's CPU is that of the processes alive at the reading; none of the systems ends processes while it is
measured. Resolution is the kernel's clock tick (10 ms), so steps of less than a second say little.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cluster.processes import memory_bytes

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12  # fields of /proc/<pid>/stat behind the name


def tree(roots: Iterable[int]) -> list[int]:
    """The roots and all their descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[_PARENT])].append(int(entry.name))
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time the processes have used so far."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    return ticks / _TICKS_PER_SECOND


def memory_mib(pids: Iterable[int]) -> float:
    """Proportional set size: pages shared by several processes count once."""
    return sum(memory_bytes(pid) for pid in pids) / (1 << 20)


def command_of(pid: int) -> str:
    """What the process calls itself; empty when it is gone."""
    try:
        text = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return text.replace(b"\0", b" ").decode(errors="replace").strip()


def load_average() -> float:
    return os.getloadavg()[0]


def _stat(pid: int) -> list[str]:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
