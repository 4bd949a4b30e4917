"""Which admin keys count no longer (design D21): rows of `_revoked_admin_keys`.

A key proves itself by its signature; what is kept here only takes that back, for one key or for all that were
issued up to a moment. The gateway asks with a live query, so a revocation counts from its commit on. Keys
themselves never come here.
"""

from __future__ import annotations

from typing import Any

from functions.system.deployment_events import KEYS_REVOKED, record_event
from functions.system.operation import Args, SystemContext
from functions.transaction import Transaction
from log.errors import bad_json_body

REVOKED = "_revoked_admin_keys"


def revoke_admin_keys(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """`{"keyId": text}` revokes one key, `{"issuedUntil": seconds}` all that were issued until then."""
    key_id, issued_until = body.get("keyId"), body.get("issuedUntil")
    if isinstance(key_id, str):
        if key_id not in _revoked_ids(transaction):
            transaction.insert(REVOKED, {"keyId": key_id})
            record_event(transaction, KEYS_REVOKED, {"key_id": key_id})
    elif isinstance(issued_until, int) and not isinstance(issued_until, bool):
        transaction.insert(REVOKED, {"issuedUntil": float(issued_until)})
        record_event(transaction, KEYS_REVOKED, {"issued_until": float(issued_until)})
    else:
        raise bad_json_body("a revocation has a `keyId` or a number `issuedUntil`")
    return {}


def _revoked_ids(transaction: Transaction) -> list[str]:
    return [row["keyId"] for row in _rows(transaction) if "keyId" in row]


def revoked_admin_keys(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """`{"keyIds": [text], "issuedUntil": seconds}`; -1 where all times count."""
    issued_until = [row["issuedUntil"] for row in _rows(transaction) if "issuedUntil" in row]
    return {"keyIds": _revoked_ids(transaction), "issuedUntil": max(issued_until, default=-1.0)}


def _rows(transaction: Transaction) -> list[dict[str, Any]]:
    return transaction.all_documents(transaction.catalog.tables[REVOKED])
