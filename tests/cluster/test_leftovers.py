"""What a killed server left behind is ended at the next start, and nothing that is not its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.data_folder import DataFolder
from cluster.processes import ProcessIdentity, end_processes, identify, is_alive
from cluster.ray_runtime import RayRuntime

from ..support.fake_npm import FakeNpm
from ..support.node_server import needs_node

PATIENCE_SECONDS = 30
EXECUTOR = """
import sys
from pathlib import Path
from actors.node_packages import NodePackageFolders
from functions.node_packages import NodePackage

NodePackageFolders(Path(sys.argv[1])).provide((NodePackage("answer", "1.0.0"),))
"""


def test_an_npm_whose_executor_was_killed_is_ended_with_all_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_node()
    data, told = tmp_path / "data", tmp_path / "pids"
    FakeNpm(tmp_path, monkeypatch).does(f"sleep 600 & echo $$ $! > {told}.new; mv {told}.new {told}; wait")
    packages = DataFolder(data).node_packages
    executor = subprocess.Popen([sys.executable, "-c", EXECUTOR, str(packages)])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not told.exists():
        assert executor.poll() is None and time.monotonic() < deadline, "npm is not started"
        time.sleep(0.02)
    left = [identified(int(pid)) for pid in told.read_text().split()]
    executor.kill()
    executor.wait()
    assert len(left) == 2 and all(is_alive(process) for process in left)
    RayRuntime(data).end_leftovers()
    assert [is_gone(process) for process in left] == [True, True]


@pytest.mark.parametrize(
    "variable",
    [
        "OLDPWD={packages}",
        "TIDELOG_PACKAGES={packages}-2",
        "TIDELOG_PACKAGES=/of{packages}",
        "X={packages}/x",
    ],
)
def test_whoever_merely_mentions_the_packages_of_a_server_is_left_alone(
    tmp_path: Path, variable: str
) -> None:
    packages = DataFolder(tmp_path / "data").node_packages
    name, _, value = variable.format(packages=packages).partition("=")
    command = [sys.executable, "-c", "print(flush=True); input()", str(packages)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={name: value}
    ) as bystander:
        assert bystander.stdout is not None
        bystander.stdout.readline()  # its command line and environment are its own now
        RayRuntime(tmp_path / "data").end_leftovers()
        bystander.communicate(b"\n", timeout=PATIENCE_SECONDS)
    assert bystander.returncode == 0


@pytest.mark.parametrize(
    ("is_ours", "suffix", "stream"), [(True, "", "stdout"), (False, "-2", "stdout"), (False, "", "stdin")]
)
def test_an_agent_of_ray_is_known_by_its_output_alone_even_when_that_is_deleted(
    tmp_path: Path, is_ours: bool, suffix: str, stream: str
) -> None:
    """Its title has taken the place of its command line and of its environment. Who reads what it has written
    is somebody else."""
    runtime = RayRuntime(tmp_path)
    session = runtime.session_folder.with_name(runtime.session_folder.name + suffix)
    session.mkdir()
    path = session / "agent.out"
    path.touch()
    with path.open("w" if stream == "stdout" else "r") as file:
        agent = subprocess.Popen(
            ["sleep", "600"],
            stdout=file if stream == "stdout" else None,
            stdin=file if stream == "stdin" else None,
            env={},
        )
    shutil.rmtree(session)
    process = identified(agent.pid)
    try:
        runtime.end_leftovers()
        assert is_alive(process) != is_ours
    finally:
        agent.kill()
        agent.wait()


def identified(pid: int) -> ProcessIdentity:
    found = identify(pid)
    assert found is not None
    return found


def is_gone(process: ProcessIdentity) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_alive(process):
        if time.monotonic() > deadline:
            end_processes([process], term_seconds=0)
            return False
        time.sleep(0.02)
    return True
