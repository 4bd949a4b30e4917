"""A real server as an operator runs it: set up by one file, watched from outside, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from ..support.server import TIDELOG, RunningServer

PATIENCE_SECONDS = 60
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def wait_for(what: Callable[[], bool], told: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


def readiness(server: RunningServer) -> str:
    """`ready`, or the code of what is missing."""
    answer = httpx.get(f"{server.url}/health/ready", timeout=10)
    assert (answer.status_code == 200) == answer.json()["ready"]
    return "ready" if answer.json()["ready"] else str(answer.json()["reason"])


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_one_file_sets_up_a_server_that_says_whether_it_is_ready_and_logs_as_json(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    server.work_folder, server.options = tmp_path, []
    executions = tmp_path / "executions.jsonl"
    (tmp_path / "tidelog.toml").write_text(
        f"""
        data_folder = "data"
        port = {server.port}
        site_port = {server.site_port}
        log_format = "json"
        drain_seconds = 5.0
        sink_file = "executions.jsonl"
        sink_url = "http://127.0.0.1:9/nobody"
        """
    )
    server.start()
    try:
        wait_for(lambda: readiness(server) == "ready", "it did not become ready")
        assert httpx.get(f"{server.url}/health/live").text == "ok"

        # A process that is lost or hangs is seen from outside, and told in one line of JSON.
        core = server.pid_of("core")
        os.kill(core, signal.SIGSTOP)
        try:
            assert readiness(server) == "NoCore"
        finally:
            os.kill(core, signal.SIGCONT)
        wait_for(lambda: readiness(server) == "ready", "the core did not come back")
        server.wait_replaced("executor-1", server.kill("executor-1"))

        # Executions reach the file; the address where nobody listens costs calls nothing.
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        asked = {"path": "m:missing", "args": {}}
        httpx.post(f"{server.url}/api/mutation", json=asked, headers=headers).raise_for_status()
        wait_for(lambda: executions.exists() and executions.read_text().endswith("\n"), "nothing was written")
        (entry,) = json_lines(executions.read_text())
        assert (entry["identifier"], entry["traceId"]) == ("m:missing", TRACE)

        printed = subprocess.run([str(TIDELOG), "status"], cwd=tmp_path, capture_output=True, text=True)
        assert printed.stdout.startswith("core") and "executions_dropped 0" in printed.stdout
    except BaseException:
        server.stop()
        raise
    statuses: list[int] = []
    stopping = threading.Thread(target=lambda: statuses.append(server.stop()))
    stopping.start()
    wait_for(lambda: readiness(server) == "Draining", "the stop was not announced")
    stopping.join()
    assert statuses == [0]
    said = json_lines(server.output.read_text())
    assert any(line["message"].startswith("executor-1 was lost") for line in said)
    assert {line["role"] for line in said} == {"supervisor"}
    (gateway_log,) = (tmp_path / "data" / "logs").glob("gateway.log")
    told = json_lines(gateway_log.read_text())
    assert len(told) == len(gateway_log.read_text().splitlines())
    assert any("cannot be delivered" in line["message"] and line["role"] == "gateway" for line in told)
