"""`python -m tests.mutants [--only NAME] [--report FILE]`: do the tests notice when a condition is removed?

Works on a copy of the tree, so an interrupted run leaves nothing behind. For each mutant the tests of its
file run until the first failure; a mutant nobody notices is a survivor and is listed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from .conditions import Mutant, mutants_of
from .reasons import REASONS

ROOT = Path(__file__).parents[2]
ROOMS = ("log", "functions", "actors", "gateway", "cluster")
COPIED = (*ROOMS, "tests/support", "tests/contracts", "tests/functions/search", "pyproject.toml")
CPU_SECONDS_MAX = 60  # a mutant that runs for ever; of CPU, since a busy machine is no sign of one
SECONDS_MAX = 600  # a mutant that waits for ever
REPORT_HEAD = """# The last run of `make mutants`

One condition after another is removed from the files that decide what is committed, what is read and who is
told: made constant, or dropped from its `and` or `or` (`tests/mutants/conditions.py`). The tests named beside
each file in `tests/mutants/__main__.py` must fail.
"""

# File -> the tests that must notice.
GUARDS: dict[str, tuple[str, ...]] = {
    "log/committer.py": (
        "tests/log/test_committer.py",
        "tests/log/test_chains.py",
        "tests/log/test_commit_ts.py",
        "tests/actors/test_transactor.py",
        "tests/actors/test_hot_calls.py",
    ),
    "log/write_log.py": ("tests/log/test_write_log.py", "tests/log/test_committer.py"),
    "log/intervals.py": ("tests/log/test_intervals.py", "tests/log/test_read_set.py"),
    "log/turns.py": (
        "tests/log/test_turns.py",
        "tests/actors/test_transactor.py",
        "tests/actors/test_hot_calls.py",
    ),
    "actors/projections/subscriptions.py": ("tests/actors/test_subscriptions.py",),
    "actors/projections/interval_index.py": ("tests/actors/test_subscriptions.py",),
    "actors/hot_places.py": (
        "tests/actors/test_hot_places.py",
        "tests/actors/test_transactor.py",
        "tests/actors/test_hot_calls.py",
    ),
    "actors/index_view.py": (
        "tests/actors/test_index_view.py",
        "tests/actors/test_view_pieces.py",
        "tests/actors/test_retention.py",
        "tests/actors/test_checkpoints.py",
    ),
    "actors/view_changes.py": ("tests/actors/test_index_view.py", "tests/actors/test_view_pieces.py"),
    "actors/view_layout.py": ("tests/actors/test_index_view.py", "tests/actors/test_view_pieces.py"),
    "actors/view_pieces.py": ("tests/actors/test_index_view.py", "tests/actors/test_view_pieces.py"),
    "actors/view_reader.py": (
        "tests/actors/test_view_work.py",
        "tests/actors/test_index_view.py",
        "tests/actors/test_changed_keys.py",
        "tests/actors/test_ahead_snapshot.py",
        "tests/actors/test_held_snapshots.py",
    ),
    "actors/view_sizes.py": ("tests/actors/test_index_view.py", "tests/actors/test_view_sizes.py"),
    "functions/search/words.py": (
        "tests/functions/search/test_words.py",
        "tests/functions/search/test_search_read_sets.py",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument("--report", type=Path, help="write the result here, as Markdown")
    options = parser.parse_args()
    started = time.monotonic()
    tried: Counter[str] = Counter()
    survivors: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        tree = _copy_tree(Path(scratch))
        for path, guards in GUARDS.items():
            if options.only not in path:
                continue
            if not _pass(tree, guards):
                print(f"{path}: its tests fail without a mutation", file=sys.stderr)
                return 2
            for mutant in mutants_of(path, (ROOT / path).read_text()):
                tried[path] += 1
                if not _is_noticed(tree / path, mutant, tree, guards):
                    survivors.append(mutant.name)
                    print(f"survives: {mutant.name}", flush=True)
    text = _report(tried, survivors, time.monotonic() - started)
    print(text)
    if options.report is not None:
        options.report.write_text(text)
    return 0


def _copy_tree(scratch: Path) -> Path:
    tree = scratch / "tree"
    files = (*COPIED, *sorted({guard for guards in GUARDS.values() for guard in guards}))
    for name in files:
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for package in ("tests", "tests/log", "tests/actors", "tests/functions"):
        shutil.copy(ROOT / package / "__init__.py", tree / package / "__init__.py")
    return tree


def _is_noticed(path: Path, mutant: Mutant, tree: Path, guards: Sequence[str]) -> bool:
    original = path.read_text()
    path.write_text(mutant.text)
    try:
        return not _pass(tree, guards)
    finally:
        path.write_text(original)


def _pass(tree: Path, guards: Sequence[str]) -> bool:
    """Whether the tests pass on the copy. Not ending in time is noticed too."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *guards]
    environment = {"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin", "HOME": str(tree)}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # looking for them takes longer than most tests
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=SECONDS_MAX,
            check=False,
            preexec_fn=_limit_cpu,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _limit_cpu() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))


def _report(tried: Counter[str], survivors: Sequence[str], seconds: float) -> str:
    total = sum(tried.values())
    noticed = total - len(survivors)
    share = 100 * noticed / max(1, total)
    facts = f"{datetime.now(UTC):%Y-%m-%d}: {total} mutants, {noticed} noticed ({share:.0f} %), "
    facts += f"in {seconds / 60:.0f} minutes."
    rows = [
        f"| `{path}` | {count} | {sum(name.startswith(f'{path}:') for name in survivors)} |"
        for path, count in tried.items()
    ]
    table = "\n".join(["| File | Mutants | Survivors |", "|---|---|---|", *rows])
    text = f"{REPORT_HEAD}\n{facts}\n\n{table}\n"
    if survivors:
        listed = "\n".join(f"- `{name}`: {_reason(name)}" for name in survivors)
        text += f"\nSurvivors, and why nothing is missed by them:\n\n{listed}\n"
    return text


def _reason(name: str) -> str:
    """Reasons are kept without line numbers, which move."""
    place, _, condition = name.partition(" ")
    return REASONS.get(f"{place.split(':')[0]} {condition}", "**not looked at yet**")


if __name__ == "__main__":
    raise SystemExit(main())
