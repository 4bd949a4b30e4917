"""On whose behalf a call runs. Written into records of mutations, hence known to every room.

Tokens and keys never travel here: the gateway checks them and keeps only what they proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Identity:
    """kind: "unknown" (no token), "user", "admin", "reader" (an admin who may only look), "acting" (an admin
    as a user) or "system".

    `attributes_json` is the canonical JSON object that `ctx.auth.getUserIdentity()` answers
    (spec 01 4.3), or None where it answers null.
    """

    kind: str = "unknown"
    attributes_json: bytes | None = None

    @property
    def is_admin(self) -> bool:
        """May run internal and `_system/` functions (spec 01 4.4)."""
        return self.kind in ("admin", "reader", "acting", "system")

    @property
    def is_plain_admin(self) -> bool:
        """May also name a component (spec 01 4.4: acting-as may not)."""
        return self.kind in ("admin", "reader", "system")

    @property
    def may_write(self) -> bool:
        """May run mutations and actions: everybody but who came with a read-only key."""
        return self.kind != "reader"


class Requester(NamedTuple):
    """Who sent the request at the root of a call tree, as far as that shows; None where no client asked.
    Personal data: it is kept in a record only if the function asked for it."""

    ip: str | None = None
    user_agent: str | None = None

    def facts(self, request_id: str) -> dict[str, str | None]:
        """The request, as functions are told of it (spec 03 2.7)."""
        return {"requestId": request_id, "ip": self.ip, "userAgent": self.user_agent}


NO_REQUESTER = Requester()
UNKNOWN = Identity()
ADMIN = Identity("admin")
READER = Identity("reader")
SYSTEM = Identity("system")
