"""An `npm` that installs what a test says, without a network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

INSTALL_ANSWER = """
mkdir -p node_modules/answer
cd node_modules/answer
printf '{"name":"answer","version":"1.0.0","type":"module","exports":"./index.js"}' > package.json
printf 'export default 42;' > index.js
cd ../..
"""
"""Installs the package `answer`, whose default export is 42."""


class FakeNpm:
    """First on the PATH from now on. `does` is a shell script, run in the folder that npm would fill."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._calls, self._script = folder / "npm-calls", folder / "bin" / "npm"
        self._script.parent.mkdir()
        monkeypatch.setenv("PATH", f"{self._script.parent}{os.pathsep}{os.environ['PATH']}")
        self.does(INSTALL_ANSWER)

    def does(self, script: str) -> None:
        self._script.write_text(f'#!/bin/sh\necho "$@" >> {self._calls}\n{script}')
        self._script.chmod(0o700)

    @property
    def calls(self) -> list[str]:
        """The arguments of each."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []
