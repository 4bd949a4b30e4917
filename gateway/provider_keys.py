"""The keys of providers: asked for when they are needed, kept as long as they may be believed (spec 01 4.2).

Awaits nothing but the port it is handed (`Fetch`); the clock arrives as a function.

Promises:
  - however many tokens wait, a document is asked for once at a time, and what came of it, good or bad,
    is kept for at least PROVIDER_FAILURE_SECONDS: callers cannot make us send as they send;
  - a document is believed as long as its headers say, within PROVIDER_DOCUMENT_SECONDS_MIN and _MAX;
  - an unknown key asks again at once, but only every PROVIDER_RENEWAL_SECONDS: rotated keys are found,
    and made-up key ids cost nothing. A renewal that fails takes no key away.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.auth_providers import CustomJwtProvider, Provider, UnprovenToken, with_scheme
from gateway.provider_answers import (
    Discovery,
    Fetched,
    FetchFailed,
    believed_seconds,
    check_discovered_issuer,
    inline_answer,
    read_custom_key_set,
    read_discovery,
    read_oidc_key_set,
)
from gateway.user_tokens import KeySet
from log.errors import BackendError
from log.limits import PROVIDER_DOCUMENTS_HELD_MAX, PROVIDER_FAILURE_SECONDS, PROVIDER_RENEWAL_SECONDS

logger = logging.getLogger(__name__)

_DISCOVERY_PATH = "/.well-known/openid-configuration"

Fetch = Callable[[str], Awaitable[Fetched | FetchFailed]]
"""The port: GET this address. It bounds time and size, and raises nothing."""

_Read = Callable[[str, Fetched | FetchFailed], Any]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What came of asking: the document, or the refusal it led to."""

    answer: Any
    fresh_until: float


@dataclass(slots=True)
class _Source:
    """One document. `asking` is set while it is asked for; `renewed_at` when an unknown key last did."""

    kept: _Kept | None = None
    asking: asyncio.Task[_Kept] | None = None
    renewed_at: float = field(default=float("-inf"))


class ProviderKeys:
    """Key sets by provider: `key_set` as it is known, `renewed_key_set` as it is now."""

    def __init__(self, fetch: Fetch, monotonic_seconds: Callable[[], float]) -> None:
        self._fetch, self._now = fetch, monotonic_seconds
        self._sources: OrderedDict[tuple[_Read, str], _Source] = OrderedDict()

    async def key_set(self, provider: Provider, token: UnprovenToken) -> KeySet:
        """The provider's keys; raises the specified refusal when they cannot be had."""
        read, url = await self._place(provider, token)
        keys: KeySet = await self._document(read, url)
        return keys

    async def renewed_key_set(self, provider: Provider, token: UnprovenToken) -> KeySet:
        """The same, asked for again unless that was done a moment ago."""
        read, url = await self._place(provider, token)
        source = self._source(read, url)
        is_due = self._now() - source.renewed_at >= PROVIDER_RENEWAL_SECONDS
        if is_due:
            source.renewed_at = self._now()
        keys: KeySet = await self._document(read, url, renew=is_due)
        return keys

    async def _place(self, provider: Provider, token: UnprovenToken) -> tuple[_Read, str]:
        """The address of the key set, which an OIDC provider has to be asked for."""
        if isinstance(provider, CustomJwtProvider):
            return read_custom_key_set, provider.key_set_url
        url = with_scheme(token.issuer).removesuffix("/") + _DISCOVERY_PATH
        discovery: Discovery = await self._document(read_discovery, url)
        check_discovered_issuer(url, discovery, token.issuer)
        return read_oidc_key_set, discovery.key_set_url

    async def _document(self, read: _Read, url: str, *, renew: bool = False) -> Any:
        source = self._source(read, url)
        kept = source.kept
        if kept is None or renew or self._now() >= kept.fresh_until:
            if source.asking is None:
                source.asking = asyncio.get_running_loop().create_task(self._ask(source, read, url))
            # Shielded: the first caller may go away, the others still wait for this answer.
            kept = await asyncio.shield(source.asking)
        if isinstance(kept.answer, BackendError):
            raise BackendError(*kept.answer.args)  # a new one: each raise adds to its traceback
        return kept.answer

    async def _ask(self, source: _Source, read: _Read, url: str) -> _Kept:
        try:
            fetched = inline_answer(url) if url.startswith("data:") else await self._fetch(url)
            try:
                kept = _Kept(read(url, fetched), self._now() + believed_seconds(fetched))
            except BackendError as refusal:
                logger.warning("an auth provider cannot be used: %s", refusal.message)
                older = source.kept
                if older is not None and self._now() < older.fresh_until:
                    return older  # this was a renewal
                kept = _Kept(refusal, self._now() + PROVIDER_FAILURE_SECONDS)
            source.kept = kept
            return kept
        finally:
            source.asking = None

    def _source(self, read: _Read, url: str) -> _Source:
        found = self._sources.setdefault((read, url), _Source())
        self._sources.move_to_end((read, url))
        while len(self._sources) > PROVIDER_DOCUMENTS_HELD_MAX:
            self._sources.popitem(last=False)
        return found
