"""Everything derived from the instance secret: admin keys, cursors, handshakes, upload tokens (D21).

An admin key is `<instance name>|<payload>` where the payload is url-safe base64 of
`version byte, issue second (8 bytes), flags byte, 8 random bytes, HMAC-SHA256 (32 bytes)`; keys of the first
version have no random bytes. It holds only characters that stand unquoted in headers and `.env` files (spec
02 24). Comparisons take constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from dataclasses import dataclass
from enum import Enum

INSTANCE_SECRET_BYTES = 32
_ADMIN_KEY_VERSION = 2
_READ_ONLY_FLAG = 1
_HEAD = struct.Struct(">BQB8s")
_HEADS = {1: struct.Struct(">BQB"), _ADMIN_KEY_VERSION: _HEAD}
_KEY_ID_BYTES = 8
_UPLOAD_TOKEN_VERSION = 1
_UPLOAD_TOKEN = struct.Struct(">BQ")
_SIGNATURE_BYTES = hashlib.sha256().digest_size


def new_instance_secret() -> bytes:
    return os.urandom(INSTANCE_SECRET_BYTES)


def base64url(data: bytes) -> str:
    """Text that stands unquoted anywhere (RFC 7515)."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def derive(instance_secret: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose; keys of different purposes say nothing about one another."""
    return hmac.new(instance_secret, b"tidelog/" + purpose.encode(), hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class AdminKey:
    """What a key that was issued for an instance says. `key_id` names it without being it: 16 hex digits."""

    key_id: str
    issued_seconds: int
    is_read_only: bool


def issue_admin_key(
    instance_secret: bytes, instance_name: str, issued_seconds: int, *, read_only: bool = False
) -> str:
    """A new key: no two are equal, so that each can be revoked alone."""
    flags = _READ_ONLY_FLAG if read_only else 0
    head = _HEAD.pack(_ADMIN_KEY_VERSION, issued_seconds, flags, os.urandom(8))
    signature = _admin_signature(instance_secret, instance_name, head)
    payload = base64url(head + signature)
    return f"{instance_name}|{payload}"


def read_admin_key(instance_secret: bytes, instance_name: str, key: str) -> AdminKey | None:
    """What `key` says, None when it was not issued for this instance. Any text is answered; none raises."""
    name, separator, payload = key.partition("|")
    if not separator or name != instance_name:
        return None
    try:
        raw = base64.urlsafe_b64decode(payload.encode("ascii") + b"=" * (-len(payload) % 4))
    except ValueError:
        return None
    layout = _HEADS.get(raw[0]) if raw else None
    if layout is None or len(raw) < layout.size:
        return None
    head, signature = raw[: layout.size], raw[layout.size :]
    if not hmac.compare_digest(signature, _admin_signature(instance_secret, instance_name, head)):
        return None
    _, issued_seconds, flags, *_ = layout.unpack(head)
    key_id = hashlib.sha256(head).digest()[:_KEY_ID_BYTES].hex()
    return AdminKey(key_id, issued_seconds, bool(flags & _READ_ONLY_FLAG))


def _admin_signature(instance_secret: bytes, instance_name: str, head: bytes) -> bytes:
    key = derive(instance_secret, "admin-key")
    return hmac.new(key, instance_name.encode() + b"|" + head, hashlib.sha256).digest()


def seal(instance_secret: bytes, purpose: str, payload: bytes) -> str:
    """An opaque, tamper-evident token that is equal for equal payloads (spec 01 4.5: cursors)."""
    signature = hmac.new(derive(instance_secret, purpose), payload, hashlib.sha256).digest()[:16]
    return base64url(signature + payload)


def unseal(instance_secret: bytes, purpose: str, token: str) -> bytes | None:
    """The payload of `seal`, or None when the token is not one of ours."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        return None
    signature, payload = raw[:16], raw[16:]
    expected = hmac.new(derive(instance_secret, purpose), payload, hashlib.sha256).digest()[:16]
    return payload if hmac.compare_digest(signature, expected) else None


class UploadToken(Enum):
    """What a text that came as an upload token is."""

    VALID = "valid"
    UNREADABLE = "unreadable"
    FOREIGN = "of another instance"
    EXPIRED = "expired"


def issue_upload_token(instance_secret: bytes, expires_seconds: int, component_id: str = "") -> str:
    """Lets whoever shows it upload files of that component until then (spec 01 2.8); equal for equal times.
    The id of the app is ""."""
    head = _UPLOAD_TOKEN.pack(_UPLOAD_TOKEN_VERSION, expires_seconds) + component_id.encode()
    return base64url(head + _upload_signature(instance_secret, head))


def check_upload_token(instance_secret: bytes, token: str, now_seconds: float) -> tuple[UploadToken, str]:
    """What the token is, and the component of a valid one. Any text is answered; none raises."""
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True)
    except ValueError:
        return UploadToken.UNREADABLE, ""
    head, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if len(head) < _UPLOAD_TOKEN.size or head[0] != _UPLOAD_TOKEN_VERSION:
        return UploadToken.UNREADABLE, ""
    if not hmac.compare_digest(signature, _upload_signature(instance_secret, head)):
        return UploadToken.FOREIGN, ""
    expires_seconds = _UPLOAD_TOKEN.unpack_from(head)[1]
    if now_seconds >= expires_seconds:
        return UploadToken.EXPIRED, ""
    return UploadToken.VALID, head[_UPLOAD_TOKEN.size :].decode()


def _upload_signature(instance_secret: bytes, head: bytes) -> bytes:
    return hmac.new(derive(instance_secret, "upload-token"), head, hashlib.sha256).digest()
