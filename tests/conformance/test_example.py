"""The example as `make run` runs it: started, used by two browser tabs and over HTTP, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.processes import processes_mentioning

from ..support.debian import need_program
from ..support.server import NPM, ROOT, free_port, needs_npm

EXAMPLE = ROOT / "docs" / "examples" / "chat"
BROWSER = Path(__file__).with_name("browser.mjs")
BROWSER_SECONDS_MAX = 120


@dataclass(frozen=True)
class RunningExample:
    """What `run.py` prints when it is ready, and its process."""

    process: subprocess.Popen[str]
    page: str
    api: str
    data: Path


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExample]:
    needs_npm()
    if not (EXAMPLE / "node_modules").is_dir():
        pytest.skip("npm packages are missing: `npm ci` in docs/examples/chat (`make setup` does it)")
    data = tmp_path_factory.mktemp("example") / "data"
    ports = {name: str(free_port()) for name in ("PORT", "SITE_PORT", "PAGE_PORT")}
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "run.py")],
        env={**os.environ, **ports, "TIDELOG_DATA": str(data), "TIDELOG_EXECUTORS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    page, api = (f"http://127.0.0.1:{ports[name]}" for name in ("PAGE_PORT", "PORT"))
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if f"Open {page}" in line:
            break
    else:
        pytest.fail("the example did not start:\n" + "".join(said))
    yield RunningExample(process, page, api, data)
    process.kill()  # no harm when it has ended
    process.wait()


def test_the_page_is_served_with_the_address_of_its_server(example: RunningExample) -> None:
    page = httpx.get(f"{example.page}/")
    assert page.status_code == 200 and "main.js" in page.text
    assert example.api in httpx.get(f"{example.page}/main.js").text


def test_two_tabs_see_each_other(example: RunningExample) -> None:
    """First of those that send: the tabs count the rows they see."""
    chromium = need_program("chromium", "chromium")
    seen = observe(f"{example.page}/", chromium)
    assert ["seen by the other tab", 0] in seen and ["seen by the other tab", 1] in seen
    assert [value for what, value in seen if what == "rows"] == [2, 2]
    assert not [value for what, value in seen if what == "page error"]


def observe(address: str, chromium: str) -> list[list[object]]:
    done = subprocess.run(
        ["node", str(BROWSER), address, chromium],
        env={**os.environ, "NODE_MODULES": str(NPM)},
        capture_output=True,
        text=True,
        timeout=BROWSER_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("> ")]


def test_a_sent_message_is_listed_and_counted_under_its_authors_name(example: RunningExample) -> None:
    who, channel = {"token": "t"}, {"channel": "general"}
    before = call(example, "query", "messages:count", channel)
    call(example, "mutation", "users:setName", {**who, "name": "Ann"})
    call(example, "mutation", "messages:send", {**who, **channel, "body": "hello"})
    first_page = {"numItems": 10, "cursor": None}
    listed = call(example, "query", "messages:list", {**channel, "paginationOpts": first_page})
    newest = listed["page"][0]
    assert (newest["name"], newest["body"]) == ("Ann", "hello")
    assert call(example, "query", "messages:count", channel) == before + 1


def test_an_empty_message_is_refused_and_not_counted(example: RunningExample) -> None:
    before = call(example, "query", "messages:count", {"channel": "general"})
    body = {
        "path": "messages:send",
        "args": {"token": "t", "channel": "general", "body": " "},
        "format": "json",
    }
    answer = httpx.post(f"{example.api}/api/mutation", json=body).json()
    assert answer["status"] == "error" and answer["errorData"] == "A message needs a text."
    assert call(example, "query", "messages:count", {"channel": "general"}) == before


def test_an_interrupt_stops_everything_and_leaves_no_process(example: RunningExample) -> None:
    """Last in the file: nobody can use the example afterwards."""
    example.process.send_signal(signal.SIGINT)
    assert example.process.wait(timeout=40) == 0
    assert list(processes_mentioning(str(example.data))) == []


def call(example: RunningExample, kind: str, path: str, args: dict[str, object]) -> Any:
    answer = post(example, kind, path, args)
    assert answer["status"] == "success", answer
    return answer["value"]


def post(example: RunningExample, kind: str, path: str, args: dict[str, object]) -> dict[str, Any]:
    body = {"path": path, "args": args, "format": "json"}
    return httpx.post(f"{example.api}/api/{kind}", json=body, timeout=30).json()
