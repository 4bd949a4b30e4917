"""Hostile requests against a whole deployment, and hostile frames; the long run is `python -m tests.fuzz`."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path

import pytest

from gateway import frames
from log.errors import BackendError

from .__main__ import run
from .requests import ODD_VALUES, mutated

REQUESTS = 2_000
FRAMES = 20_000
MESSAGES = (
    {
        "type": "Connect",
        "sessionId": "11111111-2222-4333-8444-555555555555",
        "connectionCount": 0,
        "lastCloseReason": "InitialConnect",
        "maxObservedTimestamp": "AAAAAAAAAAA=",
        "clientTs": 1,
    },
    {
        "type": "ModifyQuerySet",
        "baseVersion": 0,
        "newVersion": 1,
        "modifications": [
            {
                "type": "Add",
                "queryId": 0,
                "udfPath": "m:f",
                "args": [{}],
                "journal": None,
                "componentPath": "a",
            },
            {"type": "Remove", "queryId": 0},
        ],
    },
    {"type": "Mutation", "requestId": 0, "udfPath": "m:f", "args": [{}], "componentPath": None},
    {"type": "Action", "requestId": 0, "udfPath": "m:f", "args": [{}]},
    {"type": "Authenticate", "baseVersion": 0, "tokenType": "Admin", "value": "k", "impersonating": {"a": 1}},
    {"type": "Event", "eventType": "x", "event": {}},
)


def test_every_answer_has_a_specified_status_and_a_documented_code(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    told, faults = asyncio.run(run(tmp_path, seed, range(REQUESTS)))
    assert not faults, f"seed {seed}\n" + "\n".join(faults)
    assert sum(told.values()) == REQUESTS and len(told) > 15, "most of the surface was met"


def test_a_frame_is_a_message_or_is_refused() -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    rng = random.Random(seed)
    parsed = 0
    for number in range(FRAMES):
        tree = rng.choice(MESSAGES) if rng.random() < 0.97 else rng.choice(ODD_VALUES)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            tree = mutated(rng, tree)
        text = tree if isinstance(tree, str) else json.dumps(tree)
        try:
            frames.parse_client_message(text)
            parsed += 1
        except BackendError:
            pass
        except Exception as failure:
            pytest.fail(f"seed {seed}, frame {number}: {failure!r} of {text[:500]!r}")
    assert 0 < parsed < FRAMES
