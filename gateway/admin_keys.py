"""Checks admin keys for the whole gateway: signed with our secret, and not revoked (spec 02 1, design D21).

What was revoked is a live query like any other (design D13): the result cache keeps its answer until somebody
revokes a key, which then counts at once for requests, and within a heartbeat for sockets that are open.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from gateway.backend import FunctionCall, GatewaySettings
from gateway.identity import GivenAdminKey, read_given_key
from gateway.query_runner import QueryRunner
from log import errors
from log.identity import SYSTEM, Identity
from log.secrets import AdminKey

_REVOKED_PATH = "_system/tidelog/adminKeys.js:revoked"


@dataclass(frozen=True, slots=True)
class _Revoked:
    key_ids: frozenset[str] = frozenset()
    issued_until_seconds: float = -1

    def holds(self, key: AdminKey) -> bool:
        return key.issued_seconds <= self.issued_until_seconds or key.key_id in self.key_ids


class AdminKeys:
    """One per gateway."""

    def __init__(self, runner: QueryRunner, settings: GatewaySettings) -> None:
        self._runner, self._settings = runner, settings
        self._row = b""
        self._revoked = _Revoked()  # decoded from `_row`

    async def identify(self, credentials: str) -> Identity:
        """The admin who shows these credentials, or a raised BadAdminKey."""
        return (await self.check(credentials)).identity

    async def check(self, credentials: str) -> GivenAdminKey:
        given = read_given_key(self._settings, credentials)
        if await self.is_revoked(given.key):
            raise errors.bad_admin_key()
        return given

    async def is_revoked(self, key: AdminKey) -> bool:
        result = await self._runner.query(FunctionCall(_REVOKED_PATH, b"[{}]", SYSTEM))
        row = result.outcome.value
        if row is None:
            raise errors.internal_server_error()
        if row != self._row:
            fields = orjson.loads(row)
            self._row = row
            self._revoked = _Revoked(frozenset(fields["keyIds"]), fields["issuedUntil"])
        return self._revoked.holds(key)
