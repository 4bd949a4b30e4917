"""Processes of ours: who is who, and how they end. Never by name, always by pid and start time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A pid may be used again; with its start time (clock ticks since boot) it is one process."""

    pid: int
    start_ticks: int


def identify(pid: int) -> ProcessIdentity | None:
    """The process now running as `pid`, or None; a zombie has ended."""
    found = _look_at(pid)
    return found[1] if found is not None and found[0] not in ("Z", "X") else None


def _look_at(pid: int) -> tuple[str, ProcessIdentity] | None:
    """(state, whose it is) of what the kernel still knows as `pid`."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return fields[0], ProcessIdentity(pid, int(fields[19]))


def is_alive(process: ProcessIdentity) -> bool:
    return identify(process.pid) == process


async def wait_ended(process: ProcessIdentity) -> None:
    """Return once the process has ended, told by the kernel (pidfd); at once when it has already."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        found = _look_at(process.pid)  # AFTER the pid was opened: it is this process, or it has ended
        if found is not None and found[1] == process:  # a zombie may have threads that still end
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def processes_mentioning(*texts: str) -> Iterator[ProcessIdentity]:
    """Processes whose command line or environment names one of `texts` (paths that are only ours).

    Both are looked at: Ray's workers overwrite their command line with a title.
    """
    needles = [text.encode() for text in texts]
    return _others(lambda entry: _mentions(entry, needles))


def processes_with_variable(name: str, value: str) -> Iterator[ProcessIdentity]:
    """Processes whose environment, as they were started with it, has exactly this variable."""
    wanted = f"{name}={value}".encode()
    return _others(lambda entry: wanted in _environment(entry))


def processes_writing(folder: Path) -> Iterator[ProcessIdentity]:
    """Processes that have a file below `folder` open for writing, which may be deleted. Who only reads one,
    as whoever follows a log, is none of them."""
    prefix = f"{folder}/"
    return _others(lambda entry: any(path.startswith(prefix) for path in _written_files(entry)))


def _others(is_meant: Callable[[Path], bool]) -> Iterator[ProcessIdentity]:
    own = os.getpid()
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != own and is_meant(entry):
            found = identify(int(entry.name))
            if found is not None:
                yield found


def _written_files(entry: Path) -> Iterator[str]:
    """Of another user's process: none."""
    with contextlib.suppress(OSError):
        for descriptor in (entry / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                facts = (entry / "fdinfo" / descriptor.name).read_text()
                flags = int(facts.partition("flags:")[2].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    yield os.readlink(descriptor)


def _environment(entry: Path) -> list[bytes]:
    """Of another user's process: nothing."""
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _mentions(entry: Path, needles: list[bytes]) -> bool:
    for part in ("cmdline", "environ"):
        with contextlib.suppress(OSError):
            held = (entry / part).read_bytes()
            if any(needle in held for needle in needles):
                return True
    return False


def end_processes(processes: Iterable[ProcessIdentity], *, term_seconds: float) -> list[ProcessIdentity]:
    """SIGTERM, wait, SIGKILL what is left. Returns what had to be killed."""
    waiting = [process for process in processes if _signal(process, signal.SIGTERM)]
    deadline = time.monotonic() + term_seconds
    while waiting and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        waiting = [process for process in waiting if is_alive(process)]
    for process in waiting:
        _signal(process, signal.SIGKILL)
    return waiting


def _signal(process: ProcessIdentity, number: signal.Signals) -> bool:
    if not is_alive(process):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
        return True
    return False


def memory_bytes(pid: int) -> int:
    """Proportional set size; 0 when the process is gone."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
