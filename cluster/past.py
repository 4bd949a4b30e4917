"""One data folder's past, opened for looking: on a running server, a stopped one, or a copy of its folder.

Nothing in the folder is changed. What was archived is read as if it were still in the log. What has to be
folded is folded in a temporary folder (TMPDIR), which is removed at the end and grows as large as the view of
that moment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from actors.calls import Ended, RunCall
from actors.chain import attempt_at
from actors.executor_settings import ExecutorSettings, runner_of
from actors.function_runs import run_query
from actors.history import History, body_of
from actors.past_view import PastView
from actors.replay import Difference, NotReplayable, Replayer, check_replayable, is_user_mutation
from cluster.config import Settings, cache_folder
from cluster.data_folder import DataFolder, StartRefused
from cluster.stores import open_blob_reads, open_log_reader
from functions.determinism import SEED_BYTES, CallClock
from functions.invocation import Runner, RunOutcome
from functions.path import parse_function_path
from log.identity import Identity
from log.past_blobs import PastBlobs
from log.proven_log import ProvenLog
from log.record import CommitBody, Record, RecordKind


class BadArguments(Exception):
    """What was typed cannot be used. The text says why."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One record executed again."""

    seq: int
    path: str
    differences: tuple[Difference, ...]


class Past:
    """See the module text. `close` it, or use it as `open_past` does."""

    def __init__(self, settings: Settings) -> None:
        self._folder, self._settings = DataFolder(settings.data_folder), settings
        self._source = open_log_reader(settings.log_url, self._folder.log)
        self.records = ProvenLog(self._source)
        self.history = History(self.records)

    def close(self) -> None:
        self._source.close()

    def query(self, ts: int, path: str, args: str, attributes: str | None) -> RunOutcome:
        """Run a query as of `ts` (that of a record), as an admin or as the user with these attributes.

        Its clock stands at `ts` and its seed is fixed, so that asking twice gives the same answer."""
        call = _query_call(path, args, attributes)
        with self._folding() as (view, runner):
            snapshot = view.snapshot(ts)
            clock = CallClock.at(ts, ts)
            seed = bytes(SEED_BYTES)
            attempt = attempt_at(snapshot, view.catalog(snapshot), clock, seed, is_read_only=True)
            ended: Ended = run_query(runner, call, parse_function_path(path), attempt)
            return ended.outcome

    def replay(self, record: Record) -> Replayed:
        """Execute one record again."""
        body = body_of(record)
        check_replayable(body)  # BEFORE the fold, which may take long
        with self._folding() as (view, runner):
            return _replayed(Replayer(view, runner), record, body)

    def replay_all(self, last: int | None) -> Iterator[Replayed]:
        """Execute the newest `last` mutations of the app again, or all."""
        first_seq = self._first_of_last(last) if last is not None else 1
        with self._folding() as (view, runner):
            replayer = Replayer(view, runner)
            for record in self.records.read_from(first_seq):
                body = body_of(record)
                if is_user_mutation(body):
                    try:
                        yield _replayed(replayer, record, body)
                    except NotReplayable as refusal:
                        difference = Difference("record", str(refusal), "not executed")
                        yield Replayed(record.seq, body.trace.path, (difference,))

    def _first_of_last(self, count: int) -> int:
        """The seq from which on there are `count` mutations of the app."""
        seqs = [
            record.seq
            for record in self.records.read_from(1)
            if record.kind is RecordKind.COMMIT and is_user_mutation(body_of(record))
        ]
        return seqs[-count:][0] if seqs and count > 0 else self.records.end().seq + 1

    @contextmanager
    def _folding(self) -> Iterator[tuple[PastView, Runner]]:
        from functions.quickjs import Engine  # loads the engine's compiler, which looking does not need

        settings = self._executor_settings()
        with tempfile.TemporaryDirectory(prefix="tidelog-past-") as folder:
            view = PastView(self.records, Path(folder))
            try:
                yield view, runner_of(Engine(cache_folder()), settings)
            finally:
                view.close()

    def _executor_settings(self) -> ExecutorSettings:
        settings, kept = self._settings, self._folder.path / "credentials"
        has_secret = settings.instance_secret or (kept / "instance_secret").exists()
        has_name = settings.instance_name or (kept / "instance_name").exists()
        if not (has_secret and has_name):  # they would be made, and a folder that is looked at stays as it is
            raise StartRefused(
                f"The instance's name and secret are not in {kept}. Copy that folder too, or set "
                "INSTANCE_NAME and INSTANCE_SECRET: what functions compute may depend on them."
            )
        credentials = self._folder.credentials(settings)
        return ExecutorSettings(
            credentials.instance_name,
            credentials.instance_secret,
            settings.cloud_origin_in_use,
            settings.site_origin_in_use,
            PastBlobs(open_blob_reads(settings.files_url, self._folder.files)),
        )


@contextmanager
def open_past(settings: Settings) -> Iterator[Past]:
    past = Past(settings)
    try:
        yield past
    finally:
        past.close()


def _replayed(replayer: Replayer, record: Record, body: CommitBody) -> Replayed:
    return Replayed(record.seq, body.trace.path, replayer.replay(body))


def _query_call(path: str, args: str, attributes: str | None) -> RunCall:
    if attributes is not None:
        attributes = orjson.dumps(_json_object(attributes, "The identity")).decode()
    identity = Identity("acting", attributes.encode()) if attributes is not None else Identity("admin")
    return RunCall(
        udf_type="Query",
        path=parse_function_path(path).canonical,
        component="",
        args=orjson.dumps([_json_object(args, "The arguments")]),
        identity_kind=identity.kind,
        identity_attributes=identity.attributes_json,
        request_id="",
        journal=None,
        call_id=b"",
        session_id=None,
        session_request=None,
    )


def _json_object(text: str, what: str) -> Any:
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError as failure:
        raise BadArguments(f"{what} must be a JSON object: {failure}.") from None
    if not isinstance(tree, dict):
        raise BadArguments(f'{what} must be a JSON object such as {{"name": "Ann"}}.')
    return tree
