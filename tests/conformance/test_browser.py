"""`make run`'s example: two browser tabs see each other's messages, and a signal ends everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.processes import processes_mentioning

from ..support.debian import need_program
from ..support.server import NPM, ROOT, free_port, needs_npm

EXAMPLE = ROOT / "docs" / "examples" / "chat"
BROWSER = Path(__file__).with_name("browser.mjs")
PATIENCE_SECONDS = 120


def test_two_tabs_of_the_example_see_each_other_and_a_signal_ends_it(tmp_path: Path) -> None:
    needs_npm()
    if not (EXAMPLE / "node_modules").is_dir():
        pytest.skip("the example's npm packages are missing (`make setup` installs them)")
    chromium = need_program("chromium", "chromium")
    page_port = free_port()
    ports = {"PORT": str(free_port()), "SITE_PORT": str(free_port()), "PAGE_PORT": str(page_port)}
    environment = {**os.environ, **ports, "TIDELOG_DATA": str(tmp_path / "data"), "CI": "1"}
    output = tmp_path / "out"
    with output.open("w") as file:
        run = subprocess.Popen(
            [sys.executable, str(EXAMPLE / "run.py")],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_text(run, output, "in two tabs")
        seen = observe(f"http://127.0.0.1:{page_port}/", chromium)
        assert ["seen by the other tab", 0] in seen and ["seen by the other tab", 1] in seen
        assert [value for what, value in seen if what == "rows"] == [2, 2]
        assert not [value for what, value in seen if what == "page error"]
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(timeout=60)
    assert list(processes_mentioning(str(tmp_path / "data"))) == []


def wait_for_text(run: subprocess.Popen[bytes], output: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in output.read_text():
        assert run.poll() is None and time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)


def observe(address: str, chromium: str) -> list[list[object]]:
    done = subprocess.run(
        ["node", str(BROWSER), address, chromium],
        env={**os.environ, "NODE_MODULES": str(NPM)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("> ")]
