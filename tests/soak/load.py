"""An hour of an app's life on a real server, with its weight taken now and then (spec 04 11, T16).

The clients are unmodified npm ones (load.mjs); meanwhile the CLI pushes again and changes the environment.
The number of documents is bounded and everything else goes on, so whatever grows is a leak. During the
warm-up writes come three times as often, so that windows which hold the last so many calls are full when
the weighing begins.

Promises that are checked at the end: every acknowledged write is in the log, once; what was refused is not;
a subscriber has the newest state; the log is whole.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from log import values
from log.proven_log import ProvenLog
from log.record import CommitBody, RecordKind
from log.sqlite_reader import SqliteReader

from ..chaos.operator import end_what_is_left, verify
from ..support.server import RunningServer, copy_app
from .samples import Sample, take_sample

APP = Path(__file__).parent / "app"
SAMPLE_SECONDS = 30
ENVIRONMENT_SECONDS = 120
PUSH_SECONDS = 300
WARM_UP_SHARE = 1 / 6
WARM_UP_PACE = 3
FINISH_SECONDS_MAX = 120
_LOOK_SECONDS = 0.2
LOST_RACE = "was being run"
_SCRIPT = Path(__file__).with_name("load.mjs")


@dataclass(slots=True)
class Observed:
    """What a run saw. `faults` are broken promises, in words."""

    minutes: float
    samples: list[Sample] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    pushes: int = 0
    records: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def weighed(self) -> list[Sample]:
        """The samples behind the warm-up."""
        return [each for each in self.samples if each.seconds >= self.minutes * 60 * WARM_UP_SHARE]


class Clients:
    """The running node process of load.mjs."""

    def __init__(self, server: RunningServer, tokens: Path) -> None:
        self._pace = 1
        self._output = tokens.with_suffix(".said").open("w+")
        self._process = subprocess.Popen(
            ["node", str(_SCRIPT), server.url, str(tokens)],
            env=server.environment(),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def set_pace(self, pace: int) -> None:
        if pace == self._pace:
            return
        self._pace = pace
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"pace": pace}) + "\n")
        self._process.stdin.flush()

    def check_alive(self) -> None:
        assert self._process.poll() is None, f"the clients ended: {self._said()[-3000:]}"

    def finish(self) -> dict[str, Any]:
        """Let them settle; what they saw."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        status = self._process.wait(FINISH_SECONDS_MAX)
        said = self._said()
        assert status == 0, said[-3000:]
        return dict(json.loads(line[2:]) for line in said.splitlines() if line.startswith("> "))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()

    def _said(self) -> str:
        self._output.seek(0)
        return self._output.read()


def live(minutes: float, folder: Path, say: Callable[[str], None]) -> Observed:
    """Start a server, keep it busy, weigh it, stop it, prove what is left."""
    observed, tokens = Observed(minutes), folder / "tokens.txt"
    server = RunningServer(folder)
    try:
        server.start()
        app = copy_app(APP, folder / "app")
        _push(server, app, observed)
        with _clients(server, tokens) as clients:
            _stay_busy(server, app, clients, observed, say)
            observed.seen = clients.finish()
        status = server.stop()
        _expect(observed, status == 0, f"the server stops cleanly: status {status}")
        proof = verify(server)
        _expect(observed, proof.returncode == 0, f"the log is whole: {proof.stdout}{proof.stderr}")
        say(proof.stdout.strip())
        _check_clients(observed)
        _check_log(server, tokens, observed)
    finally:
        end_what_is_left(server)
    return observed


def _stay_busy(
    server: RunningServer, app: Path, clients: Clients, observed: Observed, say: Callable[[str], None]
) -> None:
    """Until the time is over: now and then weigh, push, change the environment."""
    began, ends = time.monotonic(), observed.minutes * 60
    weigh, change, push = _Every(SAMPLE_SECONDS, 0), _Every(ENVIRONMENT_SECONDS), _Every(PUSH_SECONDS)
    clients.set_pace(WARM_UP_PACE)
    while (now := time.monotonic() - began) < ends:
        clients.check_alive()
        if now >= ends * WARM_UP_SHARE:
            clients.set_pace(1)
        if weigh.is_due(now):
            observed.samples.append(take_sample(server, now))
            _keep(observed.samples[-1], server.folder / "samples.jsonl")
            say(_line(observed.samples[-1]))
        if push.is_due(now):
            _push(server, app, observed)
        if change.is_due(now):
            done = server.cli(app, "env", "set", "SOAK_ROUND", f"{now:.0f}")
            _expect(observed, done.returncode == 0, f"the environment can be changed: {done.stdout}")
        time.sleep(_LOOK_SECONDS)
    lives = {tuple(sorted(sample.pids.items())) for sample in observed.samples}
    _expect(observed, len(lives) == 1, f"no actor was started again: {lives}")


class _Every:
    """Due again and again; what was missed while something else took long is not made up for."""

    def __init__(self, seconds: float, first: float | None = None) -> None:
        self._seconds, self._next = seconds, seconds if first is None else first

    def is_due(self, now: float) -> bool:
        if now < self._next:
            return False
        self._next = max(self._next + self._seconds, now)
        return True


def _push(server: RunningServer, app: Path, observed: Observed) -> None:
    """The app with another version in it; the first push creates everything."""
    observed.pushes += 1
    (app / "convex" / "version.ts").write_text(f"export const version = {observed.pushes};\n")
    done = server.cli(app, "deploy", "-y", "--typecheck", "disable")
    _expect(observed, done.returncode == 0, f"a push succeeds: {done.stdout}")


# --- what must hold afterwards --------------------------------------------------------------------------


def _check_clients(observed: Observed) -> None:
    seen = observed.seen
    unexpected = {text: count for text, count in seen["refusals"].items() if LOST_RACE not in text}
    _expect(observed, not unexpected, f"nothing but a lost race is refused: {unexpected}")
    _expect(observed, seen["counts"] == seen["increments"], "each acknowledged increment counts, once")
    _expect(observed, seen["counters behind"] == 0, "a subscriber has the newest state")


def _check_log(server: RunningServer, tokens: Path, observed: Observed) -> None:
    """The clients' notes against the log, which is read as if nothing else was there."""
    noted: dict[str, Counter[str]] = {"put": Counter(), "took": Counter()}
    for line in tokens.read_text().splitlines():
        what, token = line.split(" ", 1)
        noted[what][token] += 1
    put, taken = Counter[str](), Counter[str]()
    alive: dict[str, str] = {}  # document id -> token
    for what, document_id, token in _job_writes(server, alive, observed):
        if what == "put":
            alive[document_id] = token
            put[token] += 1
        else:
            taken[alive.pop(document_id)] += 1
    _expect(observed, put == noted["put"], f"what was put is in the log, once: {_differ(put, noted['put'])}")
    differ = _differ(taken, noted["took"])
    _expect(observed, taken == noted["took"], f"what was taken is gone, once: {differ}")
    left = sorted(observed.seen["left"])
    _expect(observed, sorted(alive.values()) == left, "what a query shows is what the log folds to")


def _job_writes(
    server: RunningServer, alive: dict[str, str], observed: Observed
) -> Iterator[tuple[str, str, str]]:
    """("put" | "took", document id, token) for each job in the log."""
    reader = SqliteReader(server.data.log)
    for record in ProvenLog(reader).read_from(1):
        observed.records += 1
        for write in CommitBody.decode(record.body).writes if record.kind is RecordKind.COMMIT else ():
            if write.document is None and write.document_id in alive:
                yield "took", write.document_id, ""
            elif write.document is not None and b'"token"' in write.document:
                document: Any = values.loads_canonical(write.document)
                if "lane" in document:
                    yield "put", write.document_id, document["token"]
    reader.close()


def _differ(ours: Counter[str], theirs: Counter[str]) -> list[str]:
    return sorted({*(ours - theirs), *(theirs - ours)})[:10]


def _expect(observed: Observed, holds: bool, claim: str) -> None:
    """An hour is not thrown away at its first fault."""
    if not holds:
        observed.faults.append(claim)


@contextmanager
def _clients(server: RunningServer, tokens: Path) -> Iterator[Clients]:
    clients = Clients(server, tokens)
    try:
        yield clients
    finally:
        clients.end()


def _keep(sample: Sample, path: Path) -> None:
    with path.open("a") as kept:
        kept.write(json.dumps(asdict(sample)) + "\n")


def _line(sample: Sample) -> str:
    memory = "  ".join(f"{role} {held >> 20}" for role, held in sample.memory.items())
    files = "  ".join(f"{name} {held >> 10} KiB" for name, held in sample.files.items())
    return f"{sample.seconds:6.0f} s  MiB: {memory}  {files}  seq {sample.seq}"
