"""What JavaScript asks of the host without a transaction: `crypto.subtle` and `Intl` (spec 03 3.1, 3.2).

The one place where the two are told apart. `functions/intl` and the library behind it are imported by the
process that first meets a call that needs them: 40 ms and 11 MB that most processes never spend.

Promises:
  - without randomness an answer follows from request and data alone;
  - a forged request is refused. User code shares its built-ins with the prelude and may replace them
    (`JSON.stringify`), so what arrives may be anything; it must not look like a defect of ours.
"""

from __future__ import annotations

import json

from functions import webcrypto
from functions.host_imports import Refusal

INTL_PREFIX = b'["intl",'
MALFORMED = Refusal(json.dumps({"message": "The host does not understand this request."}).encode())


def perform(request: bytes, data: bytes, *, entropy_allowed: bool) -> bytes | Refusal:
    """Compute what the prelude asks."""
    try:
        if request.startswith(INTL_PREFIX):
            from functions import intl

            return intl.perform(request, data)
        return webcrypto.perform(request, data, entropy_allowed=entropy_allowed)
    except Exception:  # the callees refuse by themselves what the prelude may ask
        return MALFORMED
