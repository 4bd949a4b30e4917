"""Packages are installed once for each list, whole or not at all, and within their bounds."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors import node_packages
from actors.node_packages import FOLDER_VARIABLE, NodePackageFolders
from cluster.processes import processes_with_variable
from functions.node_packages import NodePackage
from log.errors import BackendError
from log.limits import NODE_PACKAGES_HELD_MAX

from ..support.fake_npm import INSTALL_ANSWER, FakeNpm
from ..support.node_server import needs_node

ANSWER = (NodePackage("answer", "1.0.0"),)
PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.05


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNpm:
    needs_node()
    return FakeNpm(tmp_path, monkeypatch)


@pytest.fixture
def folders(tmp_path: Path) -> NodePackageFolders:
    return NodePackageFolders(tmp_path / "packages")


def refusal(folders: NodePackageFolders, packages: tuple[NodePackage, ...] = ANSWER) -> str:
    with pytest.raises(BackendError) as refused:
        folders.provide(packages)
    assert refused.value.code == "InvalidExternalModules"
    assert ", ".join(package.text for package in packages) in refused.value.message
    return refused.value.message


def left_in(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "packages").iterdir())


def test_a_list_is_installed_once_however_many_ask_and_by_whichever_executor(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(folders.provide, [ANSWER] * 8))
    found.add(NodePackageFolders(tmp_path / "packages").provide(ANSWER))
    [folder] = found
    assert folder is not None and (folder / "node_modules" / "answer" / "index.js").exists()
    assert json.loads((folder / "package.json").read_text())["dependencies"] == {"answer": "1.0.0"}
    assert len(npm.calls) == 1 and npm.calls[0].startswith("install --ignore-scripts ")
    assert left_in(tmp_path) == [folder], "neither a cache nor anything unfinished"


def test_without_packages_nothing_is_asked_of_npm(npm: FakeNpm) -> None:
    assert NodePackageFolders(None).provide(()) is None and npm.calls == []


def test_npm_sees_nothing_of_the_environment_but_what_leads_it_to_the_registry(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_SECRET", "told to nobody")
    monkeypatch.setenv("npm_config_registry", "https://registry.example")
    npm.does(f"env > {tmp_path}/seen")
    folders.provide(ANSWER)
    seen = (tmp_path / "seen").read_text()
    assert "told to nobody" not in seen and "npm_config_registry=https://registry.example" in seen


def test_what_npm_says_is_the_refusal_and_nothing_is_left_of_the_attempt(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path
) -> None:
    npm.does(
        INSTALL_ANSWER + "echo 'npm error 404 Not Found' >&2; echo 'A complete log of this run' >&2; exit 1"
    )
    assert refusal(folders).endswith(":\nnpm error 404 Not Found")
    assert left_in(tmp_path) == []
    npm.does(INSTALL_ANSWER)
    assert folders.provide(ANSWER) is not None


def test_an_npm_that_takes_too_long_is_ended_with_all_it_has_started(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_packages, "NODE_PACKAGES_INSTALL_SECONDS_MAX", 0.2)
    npm.does("sleep 600 & sleep 600")
    assert "has not finished after 0.2 s" in refusal(folders)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while list(processes_with_variable(FOLDER_VARIABLE, str(tmp_path / "packages"))):
        assert time.monotonic() < deadline, "its process group has ended"
        time.sleep(LOOK_SECONDS)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("while_it_runs", [True, False])
def test_packages_larger_than_allowed_are_refused(
    npm: FakeNpm,
    folders: NodePackageFolders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    while_it_runs: bool,
) -> None:
    size = 1_000_000 if while_it_runs else 200_000
    monkeypatch.setattr(node_packages, "NODE_PACKAGES_BYTES_MAX", 150_000)
    npm.does(f"head -c {size} /dev/zero > node_modules/large" + ("; sleep 600" if while_it_runs else ""))
    assert "They have more than" in refusal(folders)
    assert left_in(tmp_path) == []


def test_a_server_without_npm_says_so(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = next(
        Path(part) / "node" for part in os.environ["PATH"].split(":") if (Path(part) / "node").exists()
    )
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "node").symlink_to(node)
    monkeypatch.setenv("PATH", str(tmp_path / "only"))
    assert "There is no `npm`" in refusal(folders)


def test_who_installs_while_the_server_stops_is_refused(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    npm.does(f"echo > {begun}; sleep 600")
    refused: list[str] = []
    asking = threading.Thread(target=lambda: refused.append(refusal(folders)))
    asking.start()
    begun.read_text()  # until npm runs
    folders.close()
    asking.join(PATIENCE_SECONDS)
    assert refused and "The server is stopping." in refused[0]


def test_of_the_installed_lists_those_used_last_are_kept(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path
) -> None:
    lists = [(NodePackage("answer", f"1.0.{number}"),) for number in range(NODE_PACKAGES_HELD_MAX + 1)]
    installed = [folders.provide(packages) for packages in lists[:-1]]
    for age, folder in enumerate(installed):
        assert folder is not None
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    assert folders.provide(lists[-2]) == installed[-1], "it is the oldest, and used again"
    newest = folders.provide(lists[-1])
    assert set(left_in(tmp_path)) == {*installed[:-2], installed[-1], newest}


def test_a_list_that_is_half_deleted_is_installed_again_and_whole(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever deleted it was killed in the middle."""
    first, *others = (
        (NodePackage("answer", f"1.0.{number}"),) for number in range(NODE_PACKAGES_HELD_MAX + 1)
    )
    evicted = folders.provide(first)
    assert evicted is not None
    os.utime(evicted, (1_000_000, 1_000_000))

    def rmtree_killed_in_the_middle(path: Path, **_options: object) -> None:
        (path / "node_modules" / "answer" / "index.js").unlink(missing_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree_killed_in_the_middle)
        for packages in others:
            folders.provide(packages)
    assert folders.provide(first) == evicted
    assert (evicted / "node_modules" / "answer" / "index.js").exists()


def test_what_another_process_has_removed_meanwhile_is_no_reason_to_refuse(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path
) -> None:
    """A link that leads nowhere stands for it: it is listed, and then not found."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "vanished").symlink_to("nowhere")
    (tmp_path / "packages" / "unfinished-vanished").symlink_to("nowhere")
    assert folders.provide(ANSWER) is not None


def test_a_list_that_is_removed_while_it_is_asked_for_is_installed_again(
    npm: FakeNpm, folders: NodePackageFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process that had decided so before it could see that the list is used."""
    folder, utime = folders.provide(ANSWER), os.utime

    def utime_then_removed(path: Path) -> None:
        monkeypatch.setattr(os, "utime", utime)
        utime(path)
        shutil.rmtree(path)

    monkeypatch.setattr(os, "utime", utime_then_removed)
    assert folders.provide(ANSWER) == folder and folder is not None and folder.is_dir()
    assert len(npm.calls) == 2
