"""Audit lines of a transaction: what is kept, what is refused, and what stands in place of variables."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from functions.audit import actor_of, add_line
from functions.transaction import Transaction
from log.errors import BackendError
from log.identity import ADMIN, READER, SYSTEM, UNKNOWN, Identity
from log.limits import AUDIT_BYTES_MAX, AUDIT_LINE_BYTES_MAX, AUDIT_LINES_MAX, VALUE_NESTING_MAX

from ..support.memory_database import MemoryDatabase

VALUES = {"ip": None, "userAgent": 'a "b" $', "requestId": "r1", "now": 17, "convexActor": {"type": "admin"}}
VARIABLES = {name: {"$var": name} for name in VALUES}


@pytest.fixture
def transaction() -> Transaction:
    return MemoryDatabase().begin()


def refusal(transaction: Transaction, args: dict[str, Any]) -> str:
    """Why a call is refused; then it has left nothing."""
    before = transaction.audited
    with pytest.raises(BackendError) as refused:
        add_line(transaction, args, VALUES)
    assert transaction.audited == before
    return f"{refused.value.code}: {refused.value.message}"


def body_of(size_bytes: int) -> dict[str, Any]:
    """A body whose line has this size."""
    return {"body": {"a": "x" * (size_bytes - len(b'{"a":""}'))}}


def nested(levels: int) -> dict[str, Any]:
    tree: Any = 1
    for level in range(levels):
        tree = {"a": tree} if level % 2 else [tree]
    return {"body": {"deep": tree}}


# --- variables ----------------------------------------------------------------------------------------


def test_every_variable_is_replaced_wherever_it_stands_and_nothing_else_is(transaction: Transaction) -> None:
    text = '{"$var":"ip"} and $now'
    body = {
        **VARIABLES,
        "list": [VARIABLES["now"], [VARIABLES["now"]], 1.5, None],
        text: text,
        "a$": {"b": {}},
    }
    add_line(transaction, {"body": body, "version": "1.48.0"}, VALUES)
    add_line(transaction, {"body": {}}, VALUES)
    first, second = transaction.audited
    assert orjson.loads(first) == {**VALUES, "list": [17, [17], 1.5, None], text: text, "a$": {"b": {}}}
    assert list(orjson.loads(first)) == list(body), "names keep their order"
    assert second == b"{}"


def test_whoever_asks_for_values_of_the_sender_is_known(transaction: Transaction) -> None:
    for name in VARIABLES:
        asked = add_line(transaction, {"body": {"at": [VARIABLES[name]]}}, VALUES)
        assert asked == (name in ("ip", "userAgent"))


def test_limits_are_of_the_line_with_its_values(transaction: Transaction) -> None:
    long = {**VALUES, "userAgent": "x" * 1_000}
    body = {"body": {"a": [VARIABLES["userAgent"]] * 100}}
    add_line(transaction, body, VALUES)
    with pytest.raises(BackendError) as refused:
        add_line(transaction, body, long)
    assert refused.value.code == "AuditLogsExceedLimits" and len(transaction.audited) == 1


@pytest.mark.parametrize(
    ("identity", "actor"),
    [
        (UNKNOWN, None),
        (SYSTEM, None),
        (Identity("user", b'{"subject":"ann"}'), None),
        (ADMIN, {"type": "admin"}),
        (READER, {"type": "admin", "isReadOnly": True}),
        (Identity("acting", b'{"subject":"ann"}'), {"type": "admin", "isActingAsUser": True}),
    ],
)
def test_the_actor_is_the_admin_who_calls_and_nobody_else(identity: Identity, actor: Any) -> None:
    assert actor_of(identity) == actor


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "cause"),
    [
        ({}, "expected an object, got nothing"),
        ({"body": None}, "expected an object, got nothing"),
        ({"body": "text"}, "expected an object, got a string"),
        ({"body": [{}]}, "expected an object, got an array"),
        ({"body": {"$var": "now"}}, "a body is an object, not a variable"),
        ({"body": {"a": {"$var": "clock"}}}, 'unknown variable "clock"'),
        ({"body": {"a": [{"$var": 7}]}}, "unknown variable 7"),
        ({"body": {"a": {"$var": ["now"]}}}, 'unknown variable ["now"]'),
        ({"body": {"a": {"$var": "now", "b": 1}}}, "a variable is an object of its own"),
        ({"body": {"$a": 1}}, 'names must not start with "$": "$a"'),
        ({"body": {"a": {"b": {"$commitTs": None}}}}, 'names must not start with "$": "$commitTs"'),
    ],
)
def test_what_is_no_body_is_refused_by_its_cause(
    transaction: Transaction, args: dict[str, Any], cause: str
) -> None:
    assert refusal(transaction, args) == f"InvalidArgument: Invalid argument `body` for `auditLog`: {cause}"


def test_a_body_nests_as_deep_as_a_value_and_no_deeper(transaction: Transaction) -> None:
    add_line(transaction, nested(VALUE_NESTING_MAX - 2), VALUES)
    for levels in (VALUE_NESTING_MAX, 900):
        assert "nested deeper than 64 levels" in refusal(transaction, nested(levels))


# --- limits -------------------------------------------------------------------------------------------

EXCEEDED = "AuditLogsExceedLimits: Audit logs exceed function execution limits"


def test_a_line_may_have_its_bytes_and_not_one_more(transaction: Transaction) -> None:
    add_line(transaction, body_of(AUDIT_LINE_BYTES_MAX), VALUES)
    assert len(transaction.audited[0]) == AUDIT_LINE_BYTES_MAX
    assert refusal(transaction, body_of(AUDIT_LINE_BYTES_MAX + 1)) == EXCEEDED


def test_a_call_may_leave_its_number_of_lines_and_not_one_more(transaction: Transaction) -> None:
    for number in range(AUDIT_LINES_MAX):
        add_line(transaction, {"body": {"n": number}}, VALUES)
    assert refusal(transaction, {"body": {}}) == EXCEEDED


def test_the_lines_of_a_call_may_have_their_bytes_together_and_not_one_more(transaction: Transaction) -> None:
    for _ in range(AUDIT_BYTES_MAX // AUDIT_LINE_BYTES_MAX - 1):
        add_line(transaction, body_of(AUDIT_LINE_BYTES_MAX), VALUES)
    add_line(transaction, body_of(AUDIT_LINE_BYTES_MAX - 50), VALUES)
    assert refusal(transaction, body_of(51)) == EXCEEDED
    add_line(transaction, body_of(50), VALUES)
    assert sum(map(len, transaction.audited)) == AUDIT_BYTES_MAX
    assert refusal(transaction, {"body": {}}) == EXCEEDED


# --- rolling back -------------------------------------------------------------------------------------


def test_rolling_back_takes_the_lines_since_and_gives_their_room_back(transaction: Transaction) -> None:
    add_line(transaction, {"body": {"n": 1}}, VALUES)
    savepoint = transaction.savepoint()
    for number in range(AUDIT_LINES_MAX - 1):
        add_line(transaction, {"body": {"n": number}}, VALUES)
    assert refusal(transaction, {"body": {}}) == EXCEEDED
    transaction.roll_back(savepoint)
    add_line(transaction, {"body": {"n": 2}}, VALUES)
    assert transaction.audited == (b'{"n":1}', b'{"n":2}')
