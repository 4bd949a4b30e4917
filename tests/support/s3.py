"""A store that speaks S3, on the loopback, in this process: moto's server (the package of PyPI)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "files"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; the environment says how obstore, here and in processes that are started, finds it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _host, port = server.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_REGION", "us-east-1")
        environment.setenv("AWS_ENDPOINT_URL", address)
        try:
            assert httpx.put(f"{address}/{BUCKET}").status_code == 200
            yield address
        finally:
            server.stop()
