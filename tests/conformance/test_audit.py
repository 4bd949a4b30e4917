"""`log.audit` of the unmodified npm package: from the app, through a real server, to its log and a sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from ..support.app_calls import call, until
from ..support.server import RunningServer
from .test_clients import observe, values_of
from .test_replay import tidelog

pytestmark = pytest.mark.usefixtures("app")


def audited(server: RunningServer, name: str) -> list[Any]:
    """The entries of the sink about lines with this name, in their order."""
    assert server.sink_file is not None
    text = server.sink_file.read_bytes() if server.sink_file.exists() else b""
    whole = text[: text.rfind(b"\n") + 1]  # the server may be writing the next line
    entries = [orjson.loads(line) for line in whole.splitlines()]
    return [each for each in entries if each.get("topic") == "audit_log" and name in each["body"]["name"]]


def actions(entries: list[Any]) -> list[str]:
    return [entry["body"]["action"] for entry in entries]


def test_what_succeeded_is_audited_once_and_in_order(server: RunningServer) -> None:
    seen = observe(server, "audits", "audited")
    assert values_of(seen, "noted") == [None]
    assert "changed my mind" in values_of(seen, "failed")[0]
    not_yet = "Audit logging is not yet supported in actions"
    assert [text.split("\n")[0] for text in values_of(seen, "acted")] == [not_yet, not_yet]
    assert all(
        'Audit log body keys must not start with "$"' in text for text in values_of(seen, "refused")[0]
    )

    until(lambda: any("action" in each["body"]["name"] for each in audited(server, "audited")), "the sink")
    entries = audited(server, "audited")
    assert actions(entries) == ["sent", "noted", "before", "noted", "after", "looked", "looked", "noted"]
    sent, by_action = entries[0], entries[-1]
    assert sent["function"]["identifier"] == "audits:sends" and sent["function"]["udfType"] == "Mutation"
    assert by_action["function"]["identifier"] == "audits:notes", "what an action called"
    assert by_action["function"]["caller"] == "Action"
    assert by_action["function"]["requestId"], "the one of the action"
    assert sent["body"] == {
        "action": "sent",
        "name": "audited",
        "source": {"ip": "127.0.0.1", "userAgent": None},
        "who": [None, sent["function"]["requestId"]],
        "at": values_of(seen, "now")[0],
    }


def test_an_admin_is_named_and_the_record_holds_the_line_and_replays(server: RunningServer) -> None:
    call(server, "mutation", "audits:sends", {"name": "by an admin"}, key=server.admin_key())
    until(lambda: len(audited(server, "by an admin")) == 1, "the sink")
    (entry,) = audited(server, "by an admin")
    assert entry["body"]["who"][0] == {"type": "admin"}
    request_id = entry["function"]["requestId"]
    shown = tidelog(server, "log", "show", request_id)
    (line,) = [line for line in shown.splitlines() if line.startswith("audit ")]
    assert orjson.loads(line.removeprefix("audit").strip()) == entry["body"]
    assert tidelog(server, "replay", request_id).endswith("audits:sends: identical\n")


def test_a_mutation_that_only_audits_stands_in_the_log(server: RunningServer) -> None:
    call(server, "mutation", "audits:notes", {"name": "only audited"})
    until(lambda: len(audited(server, "only audited")) == 1, "the sink")
    (entry,) = audited(server, "only audited")
    _record, seq, *_ = tidelog(server, "log", "show", entry["function"]["requestId"]).split()
    lines = tidelog(server, "log", "tail", "--count", "100").splitlines()
    (line,) = [line for line in lines if line.split()[0] == seq]
    assert "  audits:notes  audited 1  " in line


def test_the_cli_prints_no_audit_line(server: RunningServer, app: Path) -> None:
    with server.followed(app, "logs", "--history", "5", "--jsonl") as through:
        call(server, "mutation", "audits:notes", {"name": "quietly audited"})
        call(server, "query", "messages:count", {"name": "the last"})
        lines = through("messages:count")
    assert any("audits:notes" in line for line in lines)
    assert not [line for line in lines if "quietly audited" in line or "audit_log" in line]
