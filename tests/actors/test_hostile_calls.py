"""System calls made by hand with anything as arguments: refused, and the executor lives (spec 03 2.1)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson

from actors.action_files import FILE_CALLS
from actors.http_exchange import EXCHANGE_CALLS
from functions.syscalls import ASYNC_HANDLERS, SYNC_HANDLERS

from ..support.action_server import ActionServer

SOURCE = """
const hit = async ({ name, text, isSync }) => {
  try {
    return isSync ? Convex.syscall(name, text) : await Convex.asyncSyscall(name, text);
  } catch (error) {
    return `refused: ${error.message}`;
  }
};
export const inMutation = mutation(hit);
export const inAction = publicAction(hit);
"""
FIELDS = [
    *("id", "table", "value", "query", "queryId", "name", "args", "ts", "udfType", "idString", "pageSize"),
    *("cursor", "endCursor", "transactionLimits", "isSystem", "functionHandle", "reference", "source"),
    *("operators", "ms", "maximumRowsRead", "url", "method", "headers", "body", "hasStreamedBody", "chunk"),
    *("piece", "storageId", "sha256", "contentType", "status", "headerPairs"),
]
LEAVES: list[Any] = [
    None, True, 0, -1, 7, 1.5, 1e300, "", "x", "shop:count", "notes", "notes.by_id", "query", [], {},
    [7], [{}], {"$bad": 1}, {"$integer": "x"}, {"$undefined": None},
    {"source": {"type": "FullTableScan", "tableName": 7}, "operators": []},
    {"source": {"type": "FullTableScan", "tableName": "notes"}, "operators": [{"filter": {"$and": 7}}]},
    {"source": {"type": "FullTableScan", "tableName": "notes"}, "operators": [{"limit": "x"}]},
    {"source": {"type": "IndexRange", "indexName": "notes.by_id", "range": [7]}},
    {"source": {"type": "IndexRange", "indexName": "notes.by_creation_time", "order": [],
                "range": [{"type": "Eq", "fieldPath": "_creationTime", "value": {"$bad": 1}}]}},
    {"source": {"type": "Search", "indexName": "a.b"}}, {"source": 7}, {"operators": 7},
    {"source": {"type": "Search", "indexName": "notes.by_id", "filters": [{"type": "Search"}]}},
    {"source": {"type": "Search", "indexName": "notes.by_id",
                "filters": [{"type": "Search", "fieldPath": "body", "value": 7}]}},
]  # fmt: skip
ACTION_CALLS = [
    *(
        f"1.0/actions/{name}"
        for name in ("query", "mutation", "action", "schedule", "cancel_job", "vectorSearch")
    ),
    *sorted(FILE_CALLS | EXCHANGE_CALLS),
    "host/fetch",
    "host/fetchRead",
]
"""Without `host/sleep` and `host/fetchWrite`, which may rightly wait until the action's time is over."""
WHOLE_TEXTS = ["", "{", "7", "null", "[]", '"x"', '{"pageSize":1e400}']
CALLS = 700


def arguments(rng: random.Random) -> str:
    if rng.random() < 0.1:
        return rng.choice(WHOLE_TEXTS)
    chosen = rng.sample(FIELDS, rng.randrange(0, 8))
    return orjson.dumps({name: rng.choice(LEAVES) for name in chosen}).decode()


def test_whatever_a_call_is_given_it_is_answered_or_refused_and_the_executor_lives(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    names = [*ASYNC_HANDLERS, "1.0/runUdf", *SYNC_HANDLERS]

    async def whole() -> None:
        async with ActionServer(tmp_path, SOURCE) as server:
            for _ in range(CALLS):
                in_action = rng.random() < 0.5
                name = rng.choice(ACTION_CALLS) if in_action else rng.choice(names)
                args = {"name": name, "text": arguments(rng), "isSync": name in SYNC_HANDLERS}
                call = server.act("inAction", args) if in_action else server.mutate("inMutation", args)
                outcome = await asyncio.wait_for(call, 30)
                assert outcome.error is None or "Uncaught" in outcome.error.message, (seed, args, outcome)
            assert (await server.mutate("increment", {"name": "after"})).error is None

    try:
        asyncio.run(whole())
    except Exception as failure:
        raise AssertionError(f"seed {seed}") from failure
