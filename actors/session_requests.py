"""Exactly once over reconnects: what a session's request answered when it committed (spec 01 1.8).

The row is written in the transaction of the mutation's own writes, so both are durable or neither; a
failed mutation leaves none and runs again when it is sent again. Where the answer holds the commit's ts, the
row keeps the placeholder: its own revision is that ts (spec 04 1.9).
"""

from __future__ import annotations

from actors.calls import Ended, RunCall
from functions.invocation import RunOutcome
from functions.syscalls import Observed
from functions.transaction import Transaction
from log.chains import settled
from log.commit_ts import resolve
from log.keys import encode_items

_TABLE = "_session_requests"
_INDEX = "by_session_id_and_request_id"


def recorded_outcome(transaction: Transaction, call: RunCall) -> Ended | None:
    """What this session request answered when it committed before (spec 01 1.8)."""
    if call.session_id is None or call.session_request is None:
        return None
    table = transaction.catalog.tables[_TABLE]
    prefix = encode_items([call.session_id, call.session_request])
    document = transaction.first(table, _INDEX, prefix)
    if document is None:
        return None
    row = transaction.get(table, document["_id"])
    stored, ts = document["outcome"], settled(row.revision_ts if row is not None else transaction.begin_ts)
    outcome = RunOutcome(
        value=resolve(stored["result"].encode(), ts),
        error=None,
        udf_type="Mutation",
        log_lines=tuple(stored["logLines"]),
        observed=Observed(),
    )
    return Ended(outcome, ts)


def record_outcome(transaction: Transaction, call: RunCall, outcome: RunOutcome) -> None:
    """In the transaction of the writes themselves, so that both or neither are durable."""
    if call.session_id is None or call.session_request is None:
        return
    assert outcome.value is not None
    stored = {"type": "mutation", "result": outcome.value.decode(), "logLines": list(outcome.log_lines)}
    fields = {"sessionId": call.session_id, "requestId": call.session_request, "outcome": stored}
    transaction.insert(_TABLE, fields)
