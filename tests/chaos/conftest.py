"""A server to be hurt, and the tally of how. `--kills` says how often (`make chaos`: 20)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ..support.server import CONFORMANCE_APP, ROOT, RunningServer, copy_app, needs_npm
from .operator import end_what_is_left

SILENCE_SECONDS_MAX = 5
REPORTED_KILLS_MIN = 20
REPORT_HEAD = """# The last run of `make chaos`

Processes of a real server are killed with SIGKILL while four writers and three subscribers, all unmodified
npm clients, keep it busy: the core at named points of a commit's life (`actors/runtime.py`, `Pauses`) and at
random, the others at random. Every few kills the clients are asked: nothing acknowledged is lost, nothing is
applied twice, every subscriber has the newest state without a reload, no chain of transitions tore
([the checks](../tests/chaos/load.py)). At the end the log is proven whole and folded into new views.
"""


@pytest.fixture(scope="package")
def tally(request: pytest.FixtureRequest, kills: int) -> Iterator[Counter[str]]:
    """How many kills fell at each point. A run of `make chaos` writes its result to docs/chaos.md."""
    counted: Counter[str] = Counter()
    yield counted
    if kills >= REPORTED_KILLS_MIN:
        rows = "\n".join(f"| {point} | {count} |" for point, count in sorted(counted.items()))
        verdict = "failed" if request.session.testsfailed else "passed"
        facts = f"{datetime.now(UTC):%Y-%m-%d}, `make chaos` (`--kills={kills}`), {verdict}."
        (ROOT / "docs" / "chaos.md").write_text(
            f"{REPORT_HEAD}\n{facts}\n\n| killed | times |\n|---|---|\n{rows}\n"
        )


@pytest.fixture(scope="package")
def channels() -> list[str]:
    """Where loads wrote, for the test that looks at everything again."""
    return []


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own, quick to end what hangs: nobody else's calls are killed."""
    needs_npm()
    running = RunningServer(tmp_path_factory.mktemp("chaos"))
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TIDELOG_SILENCE_SECONDS_MAX", str(SILENCE_SECONDS_MAX))
            running.start()
            pushed = running.cli(copy_app(CONFORMANCE_APP, running.folder / "app"), "deploy", "-y")
            assert pushed.returncode == 0, pushed.stdout
            yield running
    finally:
        end_what_is_left(running)
