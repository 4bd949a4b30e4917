"""What a server's processes and files weigh, and the verdict on how that grew.

Verdict: from the end of the warm-up on, the median of the last quarter is above that of the first by less
than 5 % and 8 MiB. The log is judged otherwise: it must grow, by as much for each record as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from actors.view_environment import DATA_FILE
from cluster.data_folder import DataFolder
from cluster.processes import processes_mentioning
from cluster.ray_runtime import RayRuntime

from ..support.server import RunningServer

MIB = 1 << 20
GROWTH_SHARE_MAX = 0.05
GROWTH_BYTES_MAX = 8 * MIB
RECORD_BYTES_SHARE_MAX = 0.10
RAY = "Ray's own, supervisor"
_PROC = Path("/proc")
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own blocks are


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `memory` is resident bytes by actor, `private` the part of it that is no file."""

    seconds: float
    pids: dict[str, int]
    memory: dict[str, int]
    private: dict[str, int]
    files: dict[str, int]
    status: dict[str, Any] = field(default_factory=dict)  # of the core

    @property
    def seq(self) -> int:
        return int(self.status["seq"])


@dataclass(frozen=True, slots=True)
class Growth:
    """One thing's size in the first and in the last quarter of the time that counts."""

    name: str
    first: float
    last: float

    @property
    def bytes_grown(self) -> float:
        return self.last - self.first

    @property
    def is_bounded(self) -> bool:
        return self.bytes_grown < self.first * GROWTH_SHARE_MAX + GROWTH_BYTES_MAX


def growth(name: str, samples: Sequence[Sample], size: Callable[[Sample], float]) -> Growth:
    """Medians of quarters: one garbage collection more or less says nothing."""
    quarter = max(1, len(samples) // 4)
    return Growth(name, median(map(size, samples[:quarter])), median(map(size, samples[-quarter:])))


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Of each actor, and of the view; what the verdict is about."""
    roles = [growth(role, samples, _memory_of(role)) for role in samples[0].pids]
    return [*roles, growth("view (file)", samples, lambda sample: sample.files["view"])]


def _memory_of(role: str) -> Callable[[Sample], float]:
    return lambda sample: sample.memory[role]


def record_bytes(samples: Sequence[Sample]) -> tuple[float, float]:
    """What a record costs in the log's files, in the first and in the last quarter."""
    quarter = max(2, len(samples) // 4)
    return _record_bytes(samples[:quarter]), _record_bytes(samples[-quarter:])


def _record_bytes(samples: Sequence[Sample]) -> float:
    grown = samples[-1].files["log"] - samples[0].files["log"]
    return grown / max(1, samples[-1].seq - samples[0].seq)


# --- looking ------------------------------------------------------------------------------------------


def take_sample(server: RunningServer, seconds: float) -> Sample:
    pids = {role: int(facts["pid"]) for role, facts in server.actors().items()}
    session = RayRuntime(server.data.path).session_folder
    ours = {process.pid for process in processes_mentioning(str(server.data.path), str(session))}
    held = {role: resident_bytes(pid) for role, pid in pids.items()}
    others = [resident_bytes(pid) for pid in ours - set(pids.values())]
    held[RAY] = sum(resident for resident, _ in others), sum(anonymous for _, anonymous in others)
    memory = {role: resident for role, (resident, _) in held.items()}
    private = {role: anonymous for role, (_, anonymous) in held.items()}
    return Sample(seconds, pids, memory, private, file_bytes(server.data), server.ask("core", "status"))


def resident_bytes(pid: int) -> tuple[int, int]:
    """(resident, of that anonymous); zeros when the process is gone."""
    try:
        text = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in text.splitlines())
    resident, anonymous = (int(fields.get(name, "0").split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous


def file_bytes(data: DataFolder) -> dict[str, int]:
    """Bytes on the disk, by what they are for. A checkpoint is a second copy of a view, further down."""
    serving = set(data.views.glob(f"*/{DATA_FILE}"))
    views = set(data.views.rglob(DATA_FILE))
    return {
        "log": _held(data.log.iterdir()),
        "view": _held(serving),
        "checkpoints": _held(views - serving),
        "messages": _held(data.logs.rglob("*")),
    }


def _held(paths: Iterable[Path]) -> int:
    """Blocks, not length: LMDB's files have holes."""
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):  # SQLite makes and removes files
            total += path.stat().st_blocks * _BLOCK_BYTES
    return total
