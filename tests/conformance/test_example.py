"""The example as `make run` runs it: started, used, stopped."""

from __future__ import annotations

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

from ..support.server import ROOT, free_port, needs_npm

EXAMPLE = ROOT / "docs" / "examples" / "chat"


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


def test_a_sent_message_is_listed_and_counted_under_its_authors_name(example: RunningExample) -> None:
    who, channel = {"token": "t"}, {"channel": "general"}
    call(example, "mutation", "users:setName", {**who, "name": "Ann"})
    call(example, "mutation", "messages:send", {**who, **channel, "body": "hello"})
    first_page = {"numItems": 10, "cursor": None}
    listed = call(example, "query", "messages:list", {**channel, "paginationOpts": first_page})
    assert [(message["name"], message["body"]) for message in listed["page"]] == [("Ann", "hello")]
    assert call(example, "query", "messages:count", channel) == 1


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
