"""Programs from Debian packages that some tests need: installed where we may, else skipped with reason."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def need_program(program: str, package: str) -> str:
    """The program's path, installing its package when this is a Debian and we are root."""
    found = shutil.which(program)
    if found is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"{program} is missing and cannot be installed here (Debian package {package})")
    with (Path(tempfile.gettempdir()) / "tidelog-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two halves of the tests may want a package at the same time
        if shutil.which(program) is None:
            _install(package, program)
    return shutil.which(program) or pytest.skip(f"package {package} brought no {program}")


def _install(package: str, program: str) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", *command], env=environment, **quiet)  # type: ignore[call-overload]
        if done.returncode != 0:
            pytest.skip(f"`apt-get {' '.join(command)}` failed: {program} is not available")
