"""The clients of the chaos tests: they keep a server busy, and say what they were promised and shown."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..support.server import RunningServer

WRITERS = 4
_SCRIPT = Path(__file__).with_name("load.mjs")
_PATIENCE_SECONDS = 90
_LOST_RACE = "was being run"


class Load:
    """Running node clients. `finish` lets them settle and returns what they saw."""

    def __init__(self, server: RunningServer, channel: str) -> None:
        self._process = subprocess.Popen(
            ["node", str(_SCRIPT), server.url, channel, str(WRITERS)],
            env=server.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_started(self) -> None:
        """Until every writer has had an answer."""
        assert self._process.stdout is not None
        said = (line for line in iter(self._process.stdout.readline, "") if line.startswith("> "))
        started = list(itertools.islice(said, WRITERS))
        assert len(started) == WRITERS and all("started" in line for line in started), started

    def finish(self) -> dict[str, Any]:
        out, err = self._process.communicate(timeout=_PATIENCE_SECONDS)
        assert self._process.returncode == 0, err
        assert "Invalid start version" not in out + err, "the chain of transitions never tears"
        return dict(json.loads(line[2:]) for line in out.splitlines() if line.startswith("> "))

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def load_on(server: RunningServer, channel: str) -> Iterator[Load]:
    """Clients busy from the first line of the block on, and gone after it whatever happened."""
    load = Load(server, channel)
    try:
        load.wait_started()
        yield load
    finally:
        load.end()


def check(seen: dict[str, Any], facts: str) -> None:
    """What every client may rely on, whatever was killed. `facts` tell how to do it again."""
    stored, acknowledged = seen["stored"], seen["acknowledged"]
    assert len(acknowledged) > WRITERS, f"writers were busy: {facts}"
    doubled = [token for token, times in Counter(stored).items() if times > 1]
    assert doubled == [], f"no mutation is applied twice: {facts}"
    assert set(acknowledged) <= set(stored), f"no acknowledged mutation is lost: {facts}"
    assert set(stored) == set(acknowledged), f"every promise resolved, so nothing else is stored: {facts}"
    for name, results in seen["counts"].items():
        assert results == list(range(1, len(results) + 1)), f"{name} counts its writer's calls: {facts}"
    shared = sorted(seen["shared counts"])
    assert shared == list(range(1, seen["shared count"] + 1)), f"each increment took one number: {facts}"
    others = [text for text in seen["refusals"] if _LOST_RACE not in text]
    assert others == [], f"only a lost race may refuse an increment: {facts}"
    assert seen["watchers behind"] == 0, f"every subscriber has the newest state without a reload: {facts}"
    assert seen["watchers that went back"] == 0, f"nobody was shown an older state: {facts}"
