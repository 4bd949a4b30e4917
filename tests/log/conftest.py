"""A PostgreSQL server for the tests of the log in it, and a log of its own for each."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from log.postgres_store import PostgresStore

from ..support.postgres import PostgresServer, Wire


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    running = PostgresServer()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> str:
    return f"t{zlib.crc32(request.node.nodeid.encode()):08x}"


@pytest.fixture
def log_url(postgres: PostgresServer, schema: str) -> str:
    return postgres.url(schema)


@pytest.fixture
def wire(postgres: PostgresServer) -> Iterator[Wire]:
    cuttable = Wire(postgres.port)
    yield cuttable
    cuttable.close()


@pytest.fixture
def store(postgres: PostgresServer, schema: str, wire: Wire) -> Iterator[PostgresStore]:
    """A store of the log at `log_url`, behind the wire."""
    opened = PostgresStore(postgres.url(schema, port=wire.port))
    yield opened
    opened.close()
