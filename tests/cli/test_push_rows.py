"""Pushes of the unmodified CLI that do not go straight (spec 02 section 28, rows 2, 4, 6, 9, 25, 27-29)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.app_calls import call, until
from ..support.held_proxy import held_proxy
from ..support.server import RunningServer, copy_app

PACKAGE = '{"name": "small", "type": "module", "dependencies": {"convex": "1.48.0"}}'
SCHEMA = """
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({ things: defineTable({ n: v.number() })INDEXES });
"""
FUNCTIONS = """
import { queryGeneric as query } from "convex/server";
export const version = query({ args: {}, handler: async () => "VERSION" });
"""
FINISH = "/api/deploy2/finish_push"
FAST = ("-y", "--typecheck", "disable", "--codegen", "disable")


@pytest.fixture(scope="module")
def small(server: RunningServer, app: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project of one function, in the place of the tests' app until the module has ended."""
    source = tmp_path_factory.mktemp("small")
    (source / "convex").mkdir()
    (source / "package.json").write_text(PACKAGE)
    folder = copy_app(source, tmp_path_factory.mktemp("projects") / "small")
    write(folder, "first")
    deployed(server, folder)
    yield folder
    restored = server.cli(app, "deploy", *FAST)
    assert restored.returncode == 0, restored.stdout


def write(project: Path, version: str, indexes: str = "") -> None:
    (project / "convex" / "schema.ts").write_text(SCHEMA.replace("INDEXES", indexes))
    (project / "convex" / "small.ts").write_text(FUNCTIONS.replace("VERSION", version))


def deploy(server: RunningServer, project: Path, *more: str, url: str | None = None) -> Any:
    where = ("--url", url, "--admin-key", server.admin_key()) if url is not None else ()
    return server.cli(project, "deploy", *FAST, *more, *where)


def deployed(server: RunningServer, project: Path, *more: str) -> str:
    done = deploy(server, project, *more)
    assert done.returncode == 0, done.stdout
    said: str = done.stdout
    return said


def version(server: RunningServer) -> object:
    return call(server, "query", "small:version", {})


def hashes(server: RunningServer) -> Any:
    body = {"adminKey": server.admin_key(), "version": "1.48.0"}
    return httpx.post(f"{server.url}/api/get_config_hashes", json=body, timeout=30).json()


def test_a_dry_run_says_what_it_would_do_and_does_nothing(server: RunningServer, small: Path) -> None:
    write(small, "dry", '.index("by_n", ["n"])')
    before = hashes(server)
    said = deployed(server, small, "--dry-run")
    assert "Would have deployed" in said
    assert version(server) == "first" and hashes(server) == before
    write(small, "first")


def test_an_index_is_staged_and_then_enabled(server: RunningServer, small: Path) -> None:
    write(small, "staged", '.index("by_n", { fields: ["n"], staged: true })')
    assert "Added staged table indexes:" in deployed(server, small)
    write(small, "staged", '.index("by_n", ["n"])')
    assert "These indexes are now enabled:" in deployed(server, small)
    write(small, "first")
    assert "[-] things.by_n" in deployed(server, small)


def test_a_command_is_run_first_and_told_the_address(server: RunningServer, small: Path) -> None:
    said = deployed(server, small, "--cmd", "echo X-$CONVEX_URL")
    assert f"X-{server.url}" in said
    assert said.index("X-http") < said.index("Deployed Convex functions")


def test_an_auth_config_waits_for_its_variable(server: RunningServer, small: Path) -> None:
    config = small / "convex" / "auth.config.ts"
    config.write_text(
        'export default { providers: [{ domain: process.env.ISSUER!, applicationID: "app" }] };'
    )
    refused = deploy(server, small)
    assert refused.returncode == 1
    text = "Environment variable ISSUER is used in auth config file but its value was not set."
    assert text in " ".join(refused.stdout.split())
    assert server.cli(small, "env", "set", "ISSUER", "https://issuer.example").returncode == 0
    deployed(server, small)
    config.unlink()
    deployed(server, small)
    assert server.cli(small, "env", "remove", "ISSUER").returncode == 0


def test_of_two_pushes_at_once_one_wins_and_the_other_says_so(
    server: RunningServer, small: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(small, tmp_path / "other", symlinks=True)
    write(small, "loser", '.index("by_n", ["n"])')
    write(other, "winner", '.index("by_m", ["n"])')
    with held_proxy(server.url, FINISH, lambda: deployed(server, other) and None) as url:
        lost = deploy(server, small, url=url)
    assert lost.returncode == 1, lost.stdout
    assert "Another push was started or finished while this one was under way" in lost.stdout, lost.stdout
    assert version(server) == "winner"
    write(small, "first")
    deployed(server, small)


def test_a_server_that_dies_in_the_middle_of_a_push_knows_all_of_it_or_nothing(
    server: RunningServer, small: Path
) -> None:
    def die() -> None:
        server.kill_supervisor()
        server.start()

    write(small, "survivor")
    with held_proxy(server.url, FINISH, die) as url:
        pushed = deploy(server, small, url=url)
    assert pushed.returncode in (0, 1), pushed.stdout
    assert version(server) == ("survivor" if pushed.returncode == 0 else "first"), pushed.stdout
    deployed(server, small)
    finished = hashes(server)
    die()
    assert version(server) == "survivor" and hashes(server) == finished


def test_a_watching_push_follows_files_and_variables(server: RunningServer, small: Path) -> None:
    write(small, "seen")
    with server.followed(small, "dev", "--typecheck", "disable", "--codegen", "disable") as through:
        through("Convex functions ready!")
        assert version(server) == "seen"
        write(small, "edited")
        through("Convex functions ready!")
        assert version(server) == "edited"
    write(small, "first")
    deployed(server, small)
    until(lambda: version(server) == "first", "the function is the old one again")
