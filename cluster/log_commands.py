"""The commands about the log: `tidelog log tail|show|diff|archive`, `at`, `replay`.

They ask cluster/past.py, or tell cluster/archiving.py, and print what cluster/log_text.py makes of the
answer; nothing is decided here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from actors.history import Names, NotRecorded
from actors.replay import NotReplayable
from cluster.archiving import BadAge, archive_old_records
from cluster.config import Settings
from cluster.data_folder import StartRefused
from cluster.log_text import archived_lines, diff_lines, path_text, show_lines, tail_line
from cluster.options import ConfigOption, DataOption, settings_of
from cluster.past import BadArguments, Past, Replayed, open_past
from log.errors import BackendError
from log.invariant import InvariantViolation
from log.limits import ARCHIVE_AGE_DAYS
from log.record import Record
from log.sqlite_reader import LogMissing
from log.store import LogDamaged

_REFUSALS = (
    BackendError,
    LogDamaged,
    LogMissing,
    NotRecorded,
    NotReplayable,
    StartRefused,
    BadArguments,
    BadAge,
)
_FOLLOW_SECONDS = 0.25
_DIFFERENCES_SHOWN_MAX = 10

log_app = typer.Typer(no_args_is_help=True, help="Look into the log, of a running server too; archive it.")

_RECORD_HELP = "A seq, a ts, SESSION_ID:REQUEST, a request id or a call id."
RecordArgument = Annotated[str, typer.Argument(help=_RECORD_HELP)]
MomentArgument = Annotated[str, typer.Argument(help="A ts (nanoseconds), or the seq of a record.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `tidelog`."""
    app.add_typer(log_app, name="log")
    app.command()(at)
    app.command()(replay)


@contextmanager
def _past(settings: Settings) -> Iterator[Past]:
    """The data folder's past, or a printed refusal."""
    with _printed_refusals(), open_past(settings) as past:
        yield past


@contextmanager
def _printed_refusals() -> Iterator[None]:
    """A refusal is printed and ends the command with status 1."""
    try:
        yield
    except _REFUSALS as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
    except InvariantViolation as broken:
        typer.echo(f"The log contradicts itself: {broken}. Run `tidelog verify`.", err=True)
        raise typer.Exit(1) from None


@log_app.command()
def tail(
    data: DataOption = None,
    count: Annotated[int, typer.Option(help="How many records.", min=0)] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is committed.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the newest records, one line each: seq, ts, time, kind, function, documents (+ added, ~ changed,
    - removed), on whose behalf."""
    with _past(settings_of(config, data)) as past:
        names, seq = Names(), 0
        newest: deque[Record] = deque(maxlen=count)
        for record in past.records.read_from(1):  # all, for the names of the tables; and so all are proven
            names.learn_from(record)
            newest.append(record)
            seq = record.seq
        for record in newest:
            typer.echo(tail_line(record, names))
        while follow:
            time.sleep(_FOLLOW_SECONDS)
            for record in past.records.read_from(seq + 1):
                names.learn_from(record)
                typer.echo(tail_line(record, names))
                seq = record.seq


@log_app.command()
def show(record: RecordArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Print one record in full: the call, and each document before and after."""
    with _past(settings_of(config, data)) as past:
        found = past.history.find(record)
        for line in show_lines(found, past.history, past.history.names()):
            typer.echo(line)


@log_app.command()
def diff(
    first: MomentArgument, last: MomentArgument, data: DataOption = None, config: ConfigOption = None
) -> None:
    """Print which documents differ between two moments, and in which fields."""
    with _past(settings_of(config, data)) as past:
        moments = past.history.moment(first), past.history.moment(last)
        if moments[0] > moments[1]:
            raise BadArguments(f"{first} is later than {last}: give the earlier moment first.")
        for line in diff_lines(past.history.changes(*moments), past.history.names()):
            typer.echo(line)


@log_app.command()
def archive(
    data: DataOption = None,
    older_than: Annotated[
        str, typer.Option(help="Keep younger records in the log: a number and s, m, h or d.")
    ] = f"{ARCHIVE_AGE_DAYS}d",
    config: ConfigOption = None,
) -> None:
    """Move old records out of the log into files in archive/, so that starts read less. They can still be
    looked at and replayed. The server must be stopped."""
    settings = settings_of(config, data)
    with _printed_refusals():
        try:
            archived = archive_old_records(settings, older_than)
        except OSError as failure:
            raise StartRefused(
                f"Archiving was cut short: {failure}. Nothing is lost; what was archived stays archived. "
                "Make room, and run it again."
            ) from failure
        for line in archived_lines(archived, older_than):
            typer.echo(line)


def at(
    moment: MomentArgument,
    path: Annotated[str, typer.Argument(help="The query, such as messages:list.")],
    args: Annotated[str, typer.Argument(help="Its arguments, a JSON object.")] = "{}",
    identity: Annotated[
        str | None, typer.Option(help="As this user: the identity's attributes, a JSON object.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Run a query, with the code and the data of a moment of the past. Internal queries too."""
    with _past(settings_of(config, data)) as past:
        outcome = past.query(past.history.moment(moment), path, args, identity)
        for line in outcome.log_lines:
            typer.echo(line, err=True)
        if outcome.error is not None:
            typer.echo(outcome.error.message.rstrip(), err=True)
            raise typer.Exit(1)
        typer.echo((outcome.value or b"null").decode())


def replay(
    record: Annotated[str | None, typer.Argument(help=_RECORD_HELP)] = None,
    data: DataOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every mutation of the app.")] = False,
    last: Annotated[int | None, typer.Option(help="With --all: only the newest so many.", min=1)] = None,
    config: ConfigOption = None,
) -> None:
    """Execute a recorded mutation again and name the first difference; status 1 when there is one.

    Give the settings the server has (tidelog.toml, CONVEX_CLOUD_ORIGIN, ...), where functions read them."""
    with _past(settings_of(config, data)) as past:
        if (record is not None) == all_:
            raise BadArguments("Name one record to replay, or say --all.")
        replayed = past.replay_all(last) if record is None else iter([past.replay(past.history.find(record))])
        total, differing = 0, 0
        for each in replayed:
            total, differing = total + 1, differing + bool(each.differences)
            if each.differences or record is not None:
                for line in _replay_lines(each):
                    typer.echo(line)
        if record is None:
            typer.echo(f"{total - differing} of {total} calls identical.")
        if differing:
            raise typer.Exit(1)


def _replay_lines(replayed: Replayed) -> Iterator[str]:
    head = f"record {replayed.seq}  {path_text(replayed.path)}"
    if not replayed.differences:
        yield f"{head}: identical"
        return
    first, *others = replayed.differences
    yield f"{head}: first difference: {first}"
    for other in others[:_DIFFERENCES_SHOWN_MAX]:
        yield f"  also {other}"
    if len(others) > _DIFFERENCES_SHOWN_MAX:
        yield f"  and {len(others) - _DIFFERENCES_SHOWN_MAX} more"
