"""Checks user tokens for the whole gateway: providers from the database, keys from the providers.

The providers are a live query like any other (design D13): the result cache keeps its answer until a push
writes `_auth`, so a new `auth.config.ts` counts for the next token.

The libraries that check signatures and ask providers are imported by the first token that has a provider,
in a thread: a deployment without users never pays for them.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING

from gateway.auth_providers import Provider, choose_provider, read_providers, read_token
from gateway.backend import FunctionCall
from gateway.query_runner import QueryRunner
from log import errors
from log.identity import SYSTEM

if TYPE_CHECKING:
    from gateway.provider_keys import ProviderKeys
    from gateway.user_tokens import ProvenUser

_PROVIDERS_PATH = "_system/frontend/listAuthProviders.js:default"


class Authenticator:
    """One per gateway; `check` is called for each HTTP request and each Authenticate message."""

    def __init__(self, runner: QueryRunner, *, redact: bool) -> None:
        self._runner, self._redact = runner, redact
        self._rows = b"[]"
        self._providers: tuple[Provider, ...] = ()  # decoded from `_rows`
        self._keys: ProviderKeys | None = None  # made by the first token that needs it

    async def check(self, text: str) -> ProvenUser:
        """The user a token proves, or a raised refusal (spec 01 4.2)."""
        token = read_token(text)
        provider = choose_provider(await self._current_providers(), token, redact=self._redact)
        keys = await self._provider_keys()
        from gateway.user_tokens import find_key, prove  # loaded by now

        key = find_key(provider, token, await keys.key_set(provider, token))
        if key is None:  # the provider may have new keys
            key = find_key(provider, token, await keys.renewed_key_set(provider, token))
        return prove(provider, token, key, time.time())

    async def _current_providers(self) -> tuple[Provider, ...]:
        result = await self._runner.query(FunctionCall(_PROVIDERS_PATH, b"[{}]", SYSTEM))
        rows = result.outcome.value
        if rows is None:
            raise errors.internal_server_error()
        if rows != self._rows:
            self._rows, self._providers = rows, read_providers(rows)
        return self._providers

    async def _provider_keys(self) -> ProviderKeys:
        if self._keys is None:
            await asyncio.to_thread(importlib.import_module, "gateway.http_client")
            from gateway.http_client import fetch
            from gateway.provider_keys import ProviderKeys

            # Another token may have come here meanwhile: all share what the first one made.
            self._keys = self._keys or ProviderKeys(fetch, time.monotonic)
        return self._keys
