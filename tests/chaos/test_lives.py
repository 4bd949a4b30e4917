"""Whole servers: killed, hung, side by side, stopped; what they leave behind and what they find."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from cluster.processes import identify, is_alive, processes_mentioning

from ..support.server import RunningServer, copy_app, free_port, needs_npm
from .conftest import APP

TIDELOG = Path(sys.executable).with_name("tidelog")


def send(server: RunningServer, body: str) -> None:
    call = {"path": "messages:send", "args": {"channel": "lives", "body": body}}
    answer = httpx.post(f"{server.url}/api/mutation", json=call, timeout=60).json()
    assert answer["status"] == "success", answer


def messages(server: RunningServer) -> list[dict]:
    call = {"path": "messages:list", "args": {"channel": "lives"}}
    return httpx.post(f"{server.url}/api/query", json=call, timeout=60).json()["value"]


def verify(server: RunningServer, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(TIDELOG), "verify", "--data", str(server.data.path), *options]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_server_survives_its_own_death_and_the_loss_of_every_view(tmp_path: Path) -> None:
    """One life after another on one data folder; each finds what the one before acknowledged."""
    needs_npm()
    server = RunningServer(tmp_path)
    server.start()
    assert server.cli(copy_app(APP, tmp_path / "app"), "deploy", "-y").returncode == 0
    send(server, "before the kill")
    survivors = [found for role in server.actors() if (found := identify(server.pid_of(role)))]
    server.kill_supervisor()
    server.start()
    assert not any(is_alive(process) for process in survivors), "the next start ended what was left"
    send(server, "after the kill")
    before = messages(server)
    assert [message["body"] for message in before] == ["before the kill", "after the kill"]
    assert server.stop() == 0
    whole = verify(server)
    assert whole.returncode == 0 and "The log is whole" in whole.stdout, whole.stderr
    shutil.rmtree(server.data.views)
    server.start()
    assert messages(server) == before, "views are folded from the log again"
    assert server.stop() == 0
    assert list(processes_mentioning(str(server.data.path))) == [], "no process is left"
    refused_after_damage(server)


def refused_after_damage(server: RunningServer) -> None:
    """The log cut short: the start is refused with both numbers, and accepted loss goes on."""
    for name in ("log.sqlite3-wal", "log.sqlite3-shm"):
        (server.data.log / name).unlink(missing_ok=True)
    database = server.data.log / "log.sqlite3"
    digest = hashlib.sha256(database.read_bytes()).hexdigest()
    command = [
        sys.executable,
        "-c",
        f"import sqlite3; c = sqlite3.connect({str(database)!r}); "
        "c.execute('DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)'); c.commit()",
    ]
    subprocess.run(command, check=True)
    assert hashlib.sha256(database.read_bytes()).hexdigest() != digest
    command = [str(TIDELOG), "dev", "--data", str(server.data.path), "--port", str(server.port)]
    refused = subprocess.run([*command, "--site-port", str(server.site_port)], capture_output=True, text=True)
    assert refused.returncode == 1 and "was acknowledged: 1 record(s) are missing" in refused.stderr
    assert verify(server).returncode == 1
    assert verify(server, "--accept-loss").returncode == 0
    assert verify(server).returncode == 0


def test_a_hung_core_is_ended_before_its_successor_serves(server: RunningServer) -> None:
    send(server, "before the core hung")
    pid, epoch = server.pid_of("core"), server.ask("core", "status")["epoch"]
    os.kill(pid, signal.SIGSTOP)
    server.wait_replaced("core", pid, seconds_max=90)
    assert server.ask("core", "status")["epoch"] > epoch
    assert identify(pid) is None, "the hung writer was ended before its successor started"
    send(server, "after the core hung")
    bodies = [message["body"] for message in messages(server)]
    assert bodies == ["before the core hung", "after the core hung"]


def test_a_taken_port_and_a_taken_folder_are_refused_with_what_to_do(server: RunningServer) -> None:
    command = [str(TIDELOG), "dev", "--site-port", str(free_port())]
    other = ["--data", str(server.folder / "other"), "--port", str(server.port)]
    port = subprocess.run([*command, *other], capture_output=True, text=True)
    assert port.returncode == 1 and str(server.port) in port.stderr and "did not start" in port.stderr
    same = ["--data", str(server.data.path), "--port", str(free_port())]
    folder = subprocess.run([*command, *same], capture_output=True, text=True)
    assert folder.returncode == 1 and "Another Tidelog server uses the data folder" in folder.stderr


def test_status_prints_a_line_for_every_actor(server: RunningServer) -> None:
    command = [str(TIDELOG), "status", "--data", str(server.data.path)]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["core", "executor-1", "executor-2", "gateway"]
    for line in lines:
        assert f"pid {server.pid_of(line.split()[0])}" in line
        assert "memory" in line and "frames" in line and "restarts" in line
    assert "epoch" in lines[0] and "seq" in lines[0] and "lag_ms" in lines[0]
