"""A load generator in a node process of its own, commanded over stdin and stdout (drivers/driver.mjs)."""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

_DRIVERS = Path(__file__).parent / "drivers"
_STOP_SECONDS_MAX = 10


class DriverFailed(Exception):
    """The load generator could not do what it was told; the text is its reason."""


class Driver:
    """One node process. `ask` is answered in order, one command at a time."""

    def __init__(self, script: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._script = script
        self._process = subprocess.Popen(
            ["node", str(_DRIVERS / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, command: str, *, seconds_max: float = 180, **options: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        line = json.dumps({"command": command, **options}) + "\n"
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DriverFailed(f"{self._script} has ended") from None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds_max)
        if not readable:
            raise DriverFailed(f"{self._script} did not answer {command} within {seconds_max:.0f} s")
        answer = json.loads(self._process.stdout.readline() or b'{"failed": "it ended"}')
        if "failed" in answer:
            raise DriverFailed(f"{self._script} {command}: {answer['failed']}")
        done: dict[str, Any] = answer["ok"]
        return done

    def stop(self) -> None:
        """Close its input, which ends it; kill it if that does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
