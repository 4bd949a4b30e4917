"""The page on self-hosting, followed word for word: its file, its unit, its commands (docs/self-hosting.md).

What needs root, the network or a certificate is left out: lines that begin with `sudo`, and the proxy, which
tests/conformance/test_proxy.py has. `make machine` follows all of it, on a machine of its own.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..support.page import sections
from ..support.server import CONFORMANCE_APP, NPM, ROOT, copy_app, free_port, needs_npm

PAGE = ROOT / "docs" / "self-hosting.md"
READY_SECONDS_MAX = 180
STOP_SECONDS_MAX = 60


class Machine:
    """The page with the folders and ports of this test in the place of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._changes = {
            "/srv/tidelog/server": str(ROOT),
            "/var/lib": str(folder),
            "/etc/tidelog": str(folder / "etc"),
            "https://app.example.com": f"http://127.0.0.1:{self.port}",
            "3210": str(self.port),
            "3211": str(free_port()),
        }
        self._sections = sections(PAGE)
        (folder / "etc").mkdir()
        (folder / "tidelog-backups").mkdir()
        (folder / "etc" / "tidelog.toml").write_text(self.block("toml"))
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "TIDELOG_EXECUTORS": "1",
        }

    def block(self, language: str) -> str:
        blocks = itertools.chain.from_iterable(self._sections.values())
        return self.changed(next(block.text for block in blocks if block.language == language))

    def commands(self, section: str) -> list[str]:
        """Of a section, without those that need root."""
        found = "".join(
            block.text for block in self._sections[section] if block.language == "sh"
        ).splitlines()
        assert found, f"the page has no commands in {section!r}"
        return [self.changed(line) for line in found if not line.startswith("sudo")]

    def changed(self, text: str) -> str:
        for old, new in self._changes.items():
            text = text.replace(old, new)
        return text

    def run(self, commands: list[str], cwd: Path | None = None) -> str:
        """In one shell, as somebody who types them; stops at the first that fails."""
        done = subprocess.run(
            ["bash", "-euc", "\n".join(commands)],
            cwd=cwd or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run_cron_file(self) -> None:
        """As cron does: with the variables that the file sets and a few of its own, from the user's home."""
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "SHELL": "/bin/sh"}
        for line in self.block("text").splitlines():
            if line.startswith("#"):
                continue
            if match := re.fullmatch(r"(\w+)=(.*)", line):
                variables[match[1]] = match[2]
                continue
            command = line.split(maxsplit=6)[6].replace("\\%", "%")  # behind five times and a user
            subprocess.run(
                ["/bin/sh", "-c", command], cwd=self.folder, env=variables, check=True, timeout=180
            )

    def unit(self, name: str) -> list[str]:
        """The value of one line of the unit."""
        (value,) = re.findall(rf"^{name}=(.*)$", self.block("ini"), re.MULTILINE)
        return str(value).split()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needs_npm()
    machine = Machine(tmp_path_factory.mktemp("machine"))
    config = dict([machine.unit("Environment")[0].split("=", 1)])
    log = (machine.folder / "server.out").open("w")
    (folder,) = machine.unit("WorkingDirectory")
    server = subprocess.Popen(
        machine.unit("ExecStart"),
        cwd=folder,
        env={**machine.environment, **config},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        machine.run([" ".join(machine.unit("ExecStartPost"))])
        yield machine
    finally:
        server.terminate()
        status = server.wait(timeout=STOP_SECONDS_MAX)
        log.close()
    assert status == 0, (machine.folder / "server.out").read_text()


def test_a_new_user_gets_from_the_first_to_the_last_section(machine: Machine, tmp_path: Path) -> None:
    started = machine.commands("3. Start")
    assert "executor-1" in machine.run(started) and '{"ready":true}' in machine.run(started)
    key = machine.run([started[0], *machine.commands("5. Push an app")[:1]]).splitlines()[-1]
    app = copy_app(CONFORMANCE_APP, tmp_path / "app")
    push = [line.replace("the key", key) for line in machine.commands("5. Push an app")[1:]]
    machine.run([f"export PATH={NPM}/.bin:$PATH", "export CI=1", *push], cwd=app)
    body = {"path": "messages:send", "args": {"channel": "hosted", "body": "hello"}}
    url = f"http://127.0.0.1:{machine.port}"
    assert httpx.post(f"{url}/api/mutation", json=body, timeout=30).json()["status"] == "success"
    backed_up = machine.run([started[0], *machine.commands("6. Back up, every night")])
    (by_hand,) = (machine.folder / "tidelog-backups").glob("????-??-??")
    by_hand.rename(machine.folder / "by-hand")
    machine.run_cron_file()
    assert (by_hand / "log" / "log.sqlite3").stat().st_size > 0, "cron made one of its own"
    assert "Backed up" in backed_up and "Restored" in backed_up and "The log is whole" in backed_up
    metrics = httpx.get(f"{url}/metrics", headers={"Authorization": f"Convex {key}"}, timeout=30)
    assert 'tidelog_actor_up{actor="core"} 1.0' in metrics.text
