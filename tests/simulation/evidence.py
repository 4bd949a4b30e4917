"""What follows from a history's log: every commit of the app, and the right state after each.

The model is run over the log once; checkers ask it what was right at a ts. Nothing here uses what the
actors computed, except the log's bytes themselves.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import orjson

from log.record import CommitBody, RecordKind

from .history import History
from .model import RELEASE_PATH, Model, Refused

_APP = "app.js:"


@dataclass(frozen=True, slots=True)
class AppCommit:
    """One committed mutation. `expected` is the model's result, or refusal; `recorded` the one its session
    row keeps (the model's, when it has no session)."""

    ts: int
    path: str
    operation: str
    session: str | None
    request: int | None
    recorded: Any
    documents: tuple[dict[str, Any], ...]
    expected: Any


class Evidence:
    """A history and what the model says of it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.commits: list[AppCommit] = []
        self._timestamps: list[int] = [0]
        self._models: list[Model] = [Model()]
        self._answers: dict[tuple[str, bytes, int], bytes] = {}
        for record in history.records:
            if record.kind is RecordKind.COMMIT:
                self._replay(record.ts, CommitBody.decode(record.body))
        self.last_ts = history.records[-1].ts
        self.all_timestamps = {record.ts for record in history.records}

    @property
    def models(self) -> list[Model]:
        """The states the database went through, in order."""
        return self._models

    def answer_at(self, path: str, args: bytes, ts: int) -> bytes:
        """What a query should answer as of `ts`, in its bytes."""
        place = bisect_right(self._timestamps, ts) - 1
        key = (path, args, place)
        if key not in self._answers:
            value = self._models[place].call(path, orjson.loads(args)[0])
            self._answers[key] = orjson.dumps(value)
        return self._answers[key]

    def _replay(self, ts: int, body: CommitBody) -> None:
        trace = body.trace
        if not trace.path.startswith(_APP) and trace.path != RELEASE_PATH:
            return
        model = copy.deepcopy(self._models[-1])
        args = orjson.loads(trace.args)[0]
        try:
            expected = model.call(trace.path, args)
        except Refused as refusal:
            expected = refusal
        decoded = [orjson.loads(write.document) for write in body.writes if write.document is not None]
        outcomes = [row["outcome"]["result"] for row in decoded if "outcome" in row]
        self.commits.append(
            AppCommit(
                ts=ts,
                path=trace.path,
                operation=args["operation"],
                session=trace.session_id,
                request=trace.session_request,
                recorded=orjson.loads(outcomes[0]) if outcomes else expected,
                documents=tuple(row for row in decoded if "outcome" not in row),
                expected=expected,
            )
        )
        self._timestamps.append(ts)
        self._models.append(model)
