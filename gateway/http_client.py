"""Asks addresses of other people's servers: the only file that knows an HTTP client (design D26).

It waits and reads; what is asked, how often, and what the answers mean is decided by `provider_keys.py` and
`log_sinks.py`. Every answer is bounded in time and size. Any address may be asked, also of private networks:
whoever deploys an app chooses its providers, and a self-hosted one is often next door.
"""

from __future__ import annotations

import aiohttp

from gateway.provider_answers import Fetched, FetchFailed
from log.limits import (
    PROVIDER_ANSWER_BYTES_MAX,
    PROVIDER_ANSWER_SECONDS_MAX,
    PROVIDER_REDIRECTS_MAX,
    SINK_ANSWER_SECONDS_MAX,
)

_TIMEOUT = aiohttp.ClientTimeout(total=PROVIDER_ANSWER_SECONDS_MAX)
_POST_TIMEOUT = aiohttp.ClientTimeout(total=SINK_ANSWER_SECONDS_MAX)
_HEADERS = {"accept": "application/json", "user-agent": "tidelog"}


async def fetch(url: str) -> Fetched | FetchFailed:
    """GET one document (`provider_keys.Fetch`). A new connection each time: answers are kept for long."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=_HEADERS) as session,
            session.get(url, max_redirects=PROVIDER_REDIRECTS_MAX) as response,
        ):
            return await _read(response)
    except TimeoutError:
        return FetchFailed(f"no answer within {PROVIDER_ANSWER_SECONDS_MAX} s")
    except (aiohttp.ClientError, OSError, ValueError) as failure:
        return FetchFailed(str(failure) or type(failure).__name__)


async def post(url: str, body: bytes, headers: dict[str, str]) -> int | FetchFailed:
    """POST once; the status that was answered. Redirects are not followed: the body is for `url` alone."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_POST_TIMEOUT, headers={"user-agent": "tidelog"}) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return response.status
    except TimeoutError:
        return FetchFailed(f"no answer within {SINK_ANSWER_SECONDS_MAX} s")
    except (aiohttp.ClientError, OSError, ValueError) as failure:
        return FetchFailed(type(failure).__name__)  # its text may hold the address, and that a key


async def _read(response: aiohttp.ClientResponse) -> Fetched | FetchFailed:
    schemes = [each.url.scheme for each in (*response.history, response)]
    if schemes[0] == "https" and "http" in schemes:
        return FetchFailed("the answer was redirected to a connection that is not encrypted")
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > PROVIDER_ANSWER_BYTES_MAX:
            return FetchFailed(f"the answer is larger than {PROVIDER_ANSWER_BYTES_MAX} bytes")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Fetched(response.status, headers, body)
