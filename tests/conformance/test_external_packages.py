"""`node.externalPackages` on a real server: the real CLI, the real npm, a package of its registry."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.app_calls import call
from ..support.server import NPM, RunningServer, needs_npm

PACKAGE, VERSION = "is-odd", "3.0.1"
INSTALL_SECONDS_MAX = 60
TOOLS = """"use node";
import isOdd from "is-odd";
import { createRequire } from "node:module";
import { action } from "./_generated/server";

export const odd = action(async (_ctx, { n }: any) => isOdd(n));
export const found = action(async () => createRequire(import.meta.url).resolve("is-odd"));
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch project that has installed the package, as its developer does."""
    needs_npm()
    folder = tmp_path_factory.mktemp("projects") / "external"
    (folder / "convex").mkdir(parents=True)
    files = {
        "package.json": json.dumps({"private": True, "dependencies": {"convex": "*", PACKAGE: VERSION}}),
        "convex.json": json.dumps({"node": {"externalPackages": [PACKAGE]}}),
        "convex/tools.ts": TOOLS,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    installed = tmp_path_factory.mktemp("installed")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"]
    try:
        subprocess.run(
            command, cwd=installed, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=True
        )
    except (OSError, subprocess.SubprocessError) as failure:
        pytest.skip(f"npm does not reach its registry: {failure}")
    modules = folder / "node_modules"
    modules.mkdir()
    for found in NPM.iterdir():
        (modules / found.name).symlink_to(found)
    for name in (PACKAGE, "is-number"):
        (modules / name).unlink(missing_ok=True)
        shutil.copytree(installed / "node_modules" / name, modules / name)
    return folder


@pytest.fixture(scope="module")
def server(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.stop()


def push(server: RunningServer, project: Path) -> subprocess.CompletedProcess[str]:
    return server.cli(project, "dev", "--once", "--typecheck", "disable")


def declare_version(project: Path, version: str) -> None:
    """The CLI sends the version that it finds in the package."""
    path = project / "node_modules" / PACKAGE / "package.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))


def folders(server: RunningServer) -> list[Path]:
    return list((server.data.path / "packages").iterdir())


def test_a_package_outside_the_bundle_is_installed_and_found_after_a_restart_with_and_without_it(
    server: RunningServer, project: Path
) -> None:
    pushed = push(server, project)
    assert pushed.returncode == 0, pushed.stdout
    assert call(server, "action", "tools:odd", {"n": 7}) is True
    [folder] = folders(server)
    assert call(server, "action", "tools:found", {}) == str(folder / "node_modules" / PACKAGE / "index.js")
    for is_lost in (False, True):
        server.stop()
        if is_lost:
            shutil.rmtree(folder)
        server.start()
        assert call(server, "action", "tools:odd", {"n": 8}) is False


def test_a_version_that_does_not_exist_fails_the_push_and_what_ran_before_runs_on(
    server: RunningServer, project: Path
) -> None:
    assert push(server, project).returncode == 0
    declare_version(project, "3.0.999")
    try:
        pushed = push(server, project)
    finally:
        declare_version(project, VERSION)
    assert pushed.returncode != 0
    assert "InvalidExternalModules" in pushed.stdout and f"{PACKAGE}@3.0.999" in pushed.stdout, pushed.stdout
    assert "npm err" in pushed.stdout.lower(), "npm 9 says `npm ERR!`, later ones `npm error`"
    assert call(server, "action", "tools:odd", {"n": 3}) is True
    assert len(folders(server)) == 1, "nothing is left of the attempt"
