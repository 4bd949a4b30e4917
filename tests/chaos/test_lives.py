"""Whole servers: killed, hung, side by side, stopped; what they leave behind and what they find."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path

import httpx
import pytest

from cluster.processes import identify, is_alive

from ..support.app_calls import until
from ..support.server import RunningServer, free_port
from .conftest import SILENCE_SECONDS_MAX
from .doors import doors
from .load import WRITERS, check, load_on
from .operator import call, end_what_is_left, is_gone, mutation, query, tidelog, verify

ELSEWHERE = "127.0.0.2"
"""Another address of loopback: this machine, and not where a server listens unless told."""


def test_two_servers_share_nothing(server: RunningServer, tmp_path: Path) -> None:
    before = {role: server.pid_of(role) for role in server.actors()}
    neighbour = RunningServer(tmp_path)
    neighbour.options += ["--host", ELSEWHERE]
    neighbour.url = f"http://{ELSEWHERE}:{neighbour.port}"
    try:
        neighbour.start()
        elsewhere = {port for _, address, port in doors(neighbour) if address == ELSEWHERE}
        assert elsewhere == {neighbour.port, neighbour.site_port}, "only these follow the setting"
        assert mutation(server, "messages:increment", name="neighbours") == 1
        answer = call(neighbour, "query", "messages:count", {"name": "neighbours"})
        assert "Could not find public function" in answer["errorMessage"], "another server's app is not ours"
        _stops_when_its_log_is_taken(neighbour)
        neighbour.start()
        assert neighbour.stop() == 0
        assert is_gone(neighbour), "a stop leaves no process behind"
    finally:
        end_what_is_left(neighbour)
    assert {role: server.pid_of(role) for role in server.actors()} == before
    assert mutation(server, "messages:increment", name="neighbours") == 2


def _stops_when_its_log_is_taken(server: RunningServer) -> None:
    """Another writer claims the next epoch: the server ends instead of claiming it back for ever."""
    with sqlite3.connect(server.data.log / "log.sqlite3") as connection:
        connection.execute("UPDATE writer SET epoch = epoch + 1")
    connection.close()
    change = {"changes": [{"name": "X", "value": "1"}]}
    key = {"Authorization": f"Convex {server.admin_key()}"}
    address = f"{server.url}/api/update_environment_variables"
    with suppress(httpx.HTTPError):  # it may end before it answers
        httpx.post(address, json=change, headers=key, verify=False, timeout=30)
    assert server.wait_ended() == 1
    assert "another server took over the log" in server.output.read_text()


def test_a_hung_core_is_ended_before_its_successor_serves(server: RunningServer) -> None:
    pid, epoch = server.pid_of("core"), server.ask("core", "status")["epoch"]
    with load_on(server, "hung-core") as load:
        os.kill(pid, signal.SIGSTOP)
        server.wait_replaced("core", pid)
        assert identify(pid) is None, "the hung writer was ended before its successor started"
        check(load.finish(), "the core was stopped by a signal")
    assert server.ask("core", "status")["epoch"] > epoch


def test_a_core_that_hangs_for_a_moment_goes_on(server: RunningServer) -> None:
    pid = server.pid_of("core")
    with load_on(server, "short-pause") as load:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(SILENCE_SECONDS_MAX / 5)
        os.kill(pid, signal.SIGCONT)
        check(load.finish(), "the core was stopped for a moment")
    assert server.pid_of("core") == pid


@pytest.mark.parametrize("option", ["--port", "--site-port"])
def test_a_taken_port_is_refused_by_its_number(server: RunningServer, option: str) -> None:
    ports = {"--port": free_port(), "--site-port": free_port()} | {option: server.port}
    refused = tidelog("dev", "--data", server.folder / "other", *chain.from_iterable(ports.items()))
    assert refused.returncode == 1
    assert "Tidelog did not start" in refused.stderr and str(server.port) in refused.stderr


def test_a_folder_in_use_is_refused_by_its_name(server: RunningServer) -> None:
    refused = tidelog("dev", "--data", server.data.path, "--port", free_port(), "--site-port", free_port())
    assert refused.returncode == 1
    assert f"Another Tidelog server uses the data folder {server.data.path}" in refused.stderr


def test_status_prints_a_line_for_every_actor(server: RunningServer) -> None:
    lines = tidelog("status", "--data", server.data.path).stdout.splitlines()
    roles = ["core", "executor-1", "executor-2", "gateway", "slow-executor"]
    assert [line.split()[0] for line in lines] == roles
    for line in lines:
        assert f"pid {server.pid_of(line.split()[0])}" in line
        assert "memory" in line and "frames" in line and "restarts" in line
    assert "epoch" in lines[0] and "seq" in lines[0] and "lag_ms" in lines[0]


def test_why_names_the_commits_that_made_live_queries_run_again(server: RunningServer) -> None:
    def said() -> list[str]:
        lines = tidelog("why", "messages:list", "--data", server.data.path).stdout.splitlines()
        return [line for line in lines if ' messages:list {"channel":"why"}: ' in line]

    with load_on(server, "why") as load:
        until(
            lambda: bool(said()), "a live query ran again"
        )  # not before its first run, which sees all so far
        load.finish()
    ours = said()
    assert ours and all(': messages:send wrote messages.by_channel ["why", ' in line for line in ours), ours


# --- the end: these two in this order ---------------------------------------------------------------


def documents(server: RunningServer, channels: list[str]) -> list[object]:
    """Everything the loads wrote."""
    counters = [f"{channel}-{which}" for channel in channels for which in ("shared", *range(WRITERS))]
    lists = [query(server, "messages:list", channel=channel) for channel in channels]
    return [*lists, *(query(server, "messages:count", name=counter) for counter in counters)]


def test_a_server_survives_its_own_death_and_the_loss_of_every_view(
    server: RunningServer, channels: list[str]
) -> None:
    mutation(server, "messages:send", channel="lives", body="before the kill")
    channels.append("lives")
    before = documents(server, channels)
    survivors = [found for role in server.actors() if (found := identify(server.pid_of(role)))]
    server.kill_supervisor()
    shutil.rmtree(server.data.views, ignore_errors=True)  # a survivor may still write there
    server.start()
    assert survivors and not any(is_alive(process) for process in survivors), "the next start ended them"
    assert documents(server, channels) == before, "views are folded from the log again"


def test_a_stopped_server_leaves_a_whole_log_and_no_process(server: RunningServer) -> None:
    assert server.stop() == 0
    assert is_gone(server), "a stop leaves no process behind"
    proven = verify(server)
    assert proven.returncode == 0 and "The log is whole" in proven.stdout, proven.stderr
    refuses_to_start_after_damage(server)


def refuses_to_start_after_damage(server: RunningServer) -> None:
    """The log cut short: the start is refused with what is missing, and accepted loss goes on."""
    with sqlite3.connect(server.data.log / "log.sqlite3") as connection:
        connection.execute("DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)")
    connection.close()
    ports = ["--port", server.port, "--site-port", server.site_port]
    refused = tidelog("dev", "--data", server.data.path, *ports)
    assert refused.returncode == 1 and "was acknowledged: 1 record(s) are missing" in refused.stderr
    assert verify(server).returncode == 1
    assert verify(server, "--accept-loss").returncode == 0
    assert verify(server).returncode == 0
