"""The direction of knowledge, and each engine library in its one home (docs/architecture.md)."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .support.tree import ROOMS, ROOT, absolute_imports, files_below, imported_modules, product_modules

MAY_IMPORT = {
    "log": {"log"},
    "functions": {"functions", "log"},
    "actors": {"actors", "functions", "log"},
    "gateway": {"gateway", "log"},
    "cluster": set(ROOMS),
}
GATEWAY_DOOR = "functions.path"
"""The one thing outside `log` that the gateway knows: how functions are named."""

HOMES = {
    "cronsim": {"functions/crons.py"},
    "cryptography": {"functions/webcrypto.py", "functions/webcrypto_keys.py", "log/token_signer.py"},
    "icu": {"functions/intl/"},
    "numpy": {"functions/search/vector_index.py"},
    "sqlite3": {"log/sqlite_store.py", "log/sqlite_reader.py"},
    "obstore": {"log/object_blob_store.py"},
    "psycopg": {"log/postgres_store.py"},
    "lmdb": {"actors/view_environment.py"},
    "wasmtime": {"functions/sandbox.py"},
    "ray": {"cluster/ray_runtime.py"},
    "typer": {
        "cluster/backup_commands.py",
        "cluster/cli.py",
        "cluster/local_backend_commands.py",
        "cluster/log_commands.py",
        "cluster/operator_commands.py",
        "cluster/options.py",
        "cluster/serving.py",
        "cluster/why.py",
    },
    "prometheus_client": {"gateway/metrics.py"},
    "pydantic": {"cluster/config.py"},
    "pydantic_settings": {"cluster/config.py"},
    "uvloop": {"cluster/ray_runtime.py"},
    "brotli": {"gateway/compression.py"},
    "jwt": {"gateway/user_tokens.py"},
    "aiohttp": {"gateway/http_client.py", "actors/fetch.py"},  # our own requests, and those of functions
    "yarl": {"actors/fetch.py"},  # addresses as aiohttp takes them unchanged
    "werkzeug": {"gateway/app.py"},
    "websockets": {"gateway/websocket_protocol.py"},
    "uvicorn": {"gateway/http_protocol.py", "gateway/server.py", "gateway/websocket_protocol.py"},
    "quart": {"gateway/app.py", "gateway/routes/"},
    "httptools": set(),  # uvicorn's, chosen by name
}
"""Who may import an engine. A home that ends in / is a folder."""

PACKAGES = {"jwt": "pyjwt", "icu": "pyicu_wheels"}
"""Engines whose package has another name."""

EVERYWHERE = {"orjson", "msgpack"}
"""Codecs: pure functions, no home needed."""

TOP_LEVEL = {
    *ROOMS,
    "tests",
    "docs",
    ".ci",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
}


def test_every_import_points_in_the_direction_of_knowledge() -> None:
    backwards = [
        f"{path} knows {name}"
        for path in product_modules()
        for name in sorted(imported_modules(path))
        if name.split(".")[0] in ROOMS and not _may_import(path.parts[0], name)
    ]
    assert not backwards


def _may_import(room: str, name: str) -> bool:
    through_the_door = room == "gateway" and f"{name}.".startswith(f"{GATEWAY_DOOR}.")
    return through_the_door or name.split(".")[0] in MAY_IMPORT[room]


@pytest.mark.parametrize("library", sorted(HOMES))
def test_every_engine_is_imported_only_in_its_home(library: str) -> None:
    importers = {
        str(path)
        for path in product_modules()
        if any(name.split(".")[0] == library for name in imported_modules(path))
    }
    strangers = {path for path in importers if not any(_is_in(path, home) for home in HOMES[library])}
    assert not strangers, f"{library} belongs to {sorted(HOMES[library])}"
    empty = {home for home in HOMES[library] if not any(_is_in(path, home) for path in importers)}
    assert not empty, f"{library} is not imported by {sorted(empty)}"


def _is_in(path: str, home: str) -> bool:
    return path.startswith(home) if home.endswith("/") else path == home


def test_every_imported_library_has_a_home_and_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    entries = [*project["dependencies"], *extras["postgres"], *extras["s3"]]
    declared = {re.split(r"[\[<=>]", entry)[0].replace("-", "_") for entry in entries}
    known = set(HOMES) | EVERYWHERE
    used = {name.split(".")[0] for path in product_modules() for name in imported_modules(path)}
    foreign = used - set(sys.stdlib_module_names) - set(ROOMS)
    assert foreign <= known, "a library without a home"
    packages = {PACKAGES.get(name, name) for name in known}
    brought = {"sqlite3", "werkzeug", "yarl"}  # by Python, quart and aiohttp
    assert declared == packages - brought


def test_the_top_level_holds_exactly_what_it_should() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    present = {Path(line).parts[0] for line in listed.stdout.splitlines() if (ROOT / line).exists()}
    assert present == TOP_LEVEL


def test_tests_import_their_helpers_relatively() -> None:
    """Some wheels install a top-level `tests`; an absolute import might find theirs."""
    absolute = [
        str(path)
        for path in files_below("tests", suffix=".py")
        if any(name.split(".")[0] == "tests" for name in absolute_imports(path))
    ]
    assert not absolute
