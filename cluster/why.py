"""`tidelog why`: which commit made a live query run again (design D17).

The gateway knows which query and which commit, the core what an index id is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer

from cluster.data_folder import DataFolder, StartRefused
from cluster.options import ConfigOption, DataOption, settings_of
from cluster.running_server import ask
from functions.path import parse_function_path
from log.keys import decode_items
from log.value_forms import display


def why(
    query: Annotated[str | None, typer.Argument(help="Only this query, as in `messages:list`.")] = None,
    data: DataOption = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many, the newest.")] = 20,
    config: ConfigOption = None,
) -> None:
    """Say which commits made live queries run again."""
    settings = settings_of(config, data)
    folder = DataFolder(settings.data_folder)
    secret = folder.credentials(settings).instance_secret
    path = parse_function_path(query).canonical if query is not None else None
    try:
        reasons = ask(folder, secret, "gateway", "why", path)[-count:]
        index_ids = sorted({reason[5] for reason in reasons if reason[5] is not None})
        names = ask(folder, secret, "core", "index_names", index_ids)
    except StartRefused as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
    name_of = dict(zip(index_ids, names, strict=True))
    lines = [reason_line(reason, name_of.get(reason[5])) for reason in reasons]
    for line in lines or ["No live query ran again since the gateway started."]:
        typer.echo(line)


def reason_line(reason: Sequence[Any], index_name: str | None) -> str:
    """`2026-11-26 02:51:03 messages:list {"channel":"c7"}: messages:send wrote messages.by_channel ["c7"] at
    1795…`."""
    seconds, path, args, ts, source, index_id, written_key = reason
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    if index_id is None:
        what = "changed functions, schema or settings"
    else:
        what = f"wrote {index_name or 'a dropped index'} {_key_text(written_key)}"
    return f"{when} {_display(path)} {_first(args)}: {_display(source)} {what} at {ts}"


def _display(path: str) -> str:
    return parse_function_path(path).display if ":" in path else path


def _first(args: bytes) -> str:
    """The one argument of a call, as JSON."""
    decoded = orjson.loads(args)
    return orjson.dumps(decoded[0] if decoded else {}).decode()


def _key_text(key: bytes) -> str:
    return f"[{', '.join(display(item) for item in decode_items(key))}]"
