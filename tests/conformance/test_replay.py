"""The log of a real server, pushed to by the real CLI and called by real clients, replayed beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..support.app_calls import call
from ..support.server import RunningServer


def tidelog(server: RunningServer, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("tidelog")), *arguments, "--data", str(server.data.path)]
    environment = {**os.environ, "TIDELOG_PORT": str(server.port), "TIDELOG_SITE_PORT": str(server.site_port)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_everything_a_real_server_recorded_replays_identically_while_it_runs(
    server: RunningServer, app: Path
) -> None:
    for number in range(20):
        call(server, "mutation", "messages:increment", {"name": "replayed"})
        call(server, "mutation", "messages:send", {"channel": "replayed", "body": f"number {number}"})
    everything = tidelog(server, "log", "tail", "--count", "100000").splitlines()
    total = sum("  commit  " in line and "  _system/" not in line for line in everything)
    assert total >= 40
    assert tidelog(server, "replay", "--all") == f"{total} of {total} calls identical.\n"


def test_a_query_of_the_past_answers_what_the_client_was_told_then(server: RunningServer, app: Path) -> None:
    told = [call(server, "mutation", "messages:increment", {"name": "past"}) for _ in range(3)]
    tail = [line.split() for line in tidelog(server, "log", "tail", "--count", "3").splitlines()]
    assert [words[4] for words in tail] == ["messages:increment"] * 3
    for words, count in zip(tail, told, strict=True):
        assert float(tidelog(server, "at", words[0], "messages:count", '{"name":"past"}')) == count
