"""What the unmodified CLI reads from a server (spec 02 14, 16, 17, 23; section 28, rows 13-19, 23, 24)."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import httpx
import pytest

from ..support.app_calls import call
from ..support.server import RunningServer
from ..support.transfer_site import zipped

RETRYING_SECONDS = 25
"""The CLI repeats what answers 404 or 5xx for about 31 seconds (spec 02 1)."""


def send(server: RunningServer, channel: str, body: str, **fields: object) -> None:
    call(server, "mutation", "messages:send", {"channel": channel, "body": body, **fields})


# --- data -------------------------------------------------------------------------------------------


def test_data_names_the_tables_in_order(server: RunningServer, app: Path) -> None:
    listed = server.cli(app, "data")
    assert listed.returncode == 0, listed.stdout
    names = listed.stdout.split()
    assert names == sorted(names) and {"counters", "messages", "stamps"} <= set(names)


def test_data_prints_rows_in_the_order_and_number_asked_for(server: RunningServer, app: Path) -> None:
    send(server, "reads", "first", n={"$integer": "AQAAAAAAAAA="})
    send(server, "reads", "last")
    table = server.cli(app, "data", "messages", "--limit", "1")
    header, rule, row, note = table.stdout.splitlines()
    assert header.split()[:3] == ["_id", "|", "_creationTime"] and set(rule) <= set("-|")
    assert '"last"' in row and "Showing the 1 most recently created document" in note
    lines = server.cli(app, "data", "messages", "--limit", "9000", "--order", "asc", "--format", "jsonl")
    ours = [line for line in lines.stdout.splitlines() if '"channel": "reads"' in line]
    assert ['"first"' in line for line in ours] == [True, False], lines.stdout
    assert '"n": 1n' in ours[0] and '"_id": "' in ours[0] and '"_creationTime": 1' in ours[0]


def test_data_shows_scheduled_functions_and_files_as_functions_see_them(
    server: RunningServer, app: Path
) -> None:
    call(server, "mutation", "jobs:counted", {"name": "shown", "times": 1, "delayMs": 600_000})
    jobs = server.cli(app, "data", "_scheduled_functions", "--limit", "1", "--format", "jsonl")
    assert '"name": "jobs:count"' in jobs.stdout and '"args": [{ "name": "shown" }]' in jobs.stdout
    upload_url = call(server, "mutation", "files:uploadUrl", {})
    stored = httpx.post(str(upload_url), content=b"12345", headers={"content-type": "text/x-shown"})
    files = server.cli(app, "data", "_storage", "--format", "jsonl")
    assert f'"_id": "{stored.json()["storageId"]}"' in files.stdout, files.stdout
    assert '"size": 5' in files.stdout and '"contentType": "text/x-shown"' in files.stdout


def test_data_of_nothing_says_so(server: RunningServer, app: Path) -> None:
    empty = server.cli(app, "data", "nosuch")
    assert (empty.returncode, empty.stdout) == (0, "There are no documents in this table.\n")
    component = server.cli(app, "data", "--component", "nosuch", seconds_max=RETRYING_SECONDS)
    assert component.returncode == 1 and "Component path 'nosuch' not found" in component.stdout


# --- functions --------------------------------------------------------------------------------------


def test_function_spec_describes_every_function_and_route(server: RunningServer, app: Path) -> None:
    printed = server.cli(app, "function-spec")
    spec = json.loads(printed.stdout)
    assert spec["url"] == server.url
    found = {each["identifier"]: each for each in spec["functions"] if "identifier" in each}
    assert found["messages.js:list"] == {
        "identifier": "messages.js:list",
        "functionType": "Query",
        "visibility": {"kind": "public"},
        "args": {
            "type": "object",
            "value": {"channel": {"fieldType": {"type": "string"}, "optional": False}},
        },
        "returns": {"type": "any"},
    }
    assert found["messages.js:hidden"]["visibility"] == {"kind": "internal"}
    assert found["messages.js:send"]["returns"] == {"type": "id", "tableName": "messages"}
    assert server.cli(app, "function-spec", "--file").returncode == 0
    (written,) = app.glob("function_spec_*.json")
    assert json.loads(written.read_text()) == spec
    written.unlink()
    routes = [each for each in spec["functions"] if each["functionType"] == "HttpAction"]
    assert routes and all(set(route) == {"functionType", "method", "path"} for route in routes)


def test_run_fills_in_what_an_identity_lacks(server: RunningServer, app: Path) -> None:
    ran = server.cli(app, "run", "users:me", "--identity", '{name: "Z", email: "z@example.org"}')
    me = json.loads(ran.stdout)
    assert (me["name"], me["email"], me["issuer"]) == ("Z", "z@example.org", "https://convex.test")
    assert me["tokenIdentifier"] == f"https://convex.test|{me['subject']}"


def test_run_watch_prints_each_new_result(server: RunningServer, app: Path) -> None:
    with server.followed(app, "run", "--watch", "messages:count", '{"name": "watched"}') as through:
        through(f"Watching query messages:count on {server.url}...")
        assert through("0") == ["0"]
        for n in ("1", "2"):
            call(server, "mutation", "messages:increment", {"name": "watched"})
            assert through(n) == [n]


# --- inline queries ---------------------------------------------------------------------------------


def inline(server: RunningServer, app: Path, text: str) -> tuple[int, str]:
    ran = server.cli(app, "run", "--inline-query", text, seconds_max=RETRYING_SECONDS)
    return ran.returncode, ran.stdout


def test_an_inline_query_reads_what_queries_read(server: RunningServer, app: Path) -> None:
    send(server, "inline", "a")
    query = 'ctx.db.query("messages").withIndex("by_channel", (q) => q.eq("channel", "inline"))'
    text = f"""const rows = await {query}.collect();
      console.log("rows", rows.length);
      return [rows.map((row) => row.body), await ctx.runQuery("messages:count", {{ name: "nobody" }})];"""
    status, printed = inline(server, app, text)
    assert status == 0 and "[LOG] 'rows' 1" in printed, printed
    assert json.loads(printed[printed.index("[\n") :]) == [["a"], 0]


def test_an_inline_query_that_fails_prints_its_error(server: RunningServer, app: Path) -> None:
    status, printed = inline(server, app, 'throw new Error("boom")')
    assert status == 1 and "Query failed" in printed and "Uncaught Error: boom" in printed


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("export default 5", "InvalidTestQuery", "Default export is not a Convex function."),
        ("export const x = query(() => 1)", "InvalidTestQuery", "Only `export default` is supported."),
        ("export default (", "InvalidTestQuery", "Uncaught SyntaxError: "),
        ('throw new Error("early")', "InvalidTestQuery", "Uncaught Error: early"),
        (
            "const m = () => 1; m.isMutation = true; m.invokeMutation = m; export default m",
            "UnsupportedTestQuery",
            "Mutations are not supported in the REPL yet.",
        ),
    ],
)
def test_a_module_that_is_no_query_is_refused(
    server: RunningServer, app: Path, source: str, code: str, message: str
) -> None:
    preamble = 'import { query, internalQuery } from "convex:/_system/repl/wrappers.js";\n'
    body = {
        "adminKey": server.admin_key(),
        "args": {},
        "bundle": {"path": "x.js", "source": preamble + source},
    }
    refused = httpx.post(f"{server.url}/api/run_test_function", json=body, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (400, code), refused.text
    assert refused.json()["message"].startswith(message)


def test_an_inline_query_is_for_admins(server: RunningServer, app: Path) -> None:
    body = {"args": {}, "bundle": {"path": "testQuery.js", "source": "export default 1"}}
    refused = httpx.post(f"{server.url}/api/run_test_function", json=body, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")


# --- logs -------------------------------------------------------------------------------------------


def test_logs_print_history_and_then_each_line_once(server: RunningServer, app: Path) -> None:
    for n in range(6):
        send(server, "logged", f"old-{n}")
    call(server, "query", "_system/cli/convexUrl:cloudUrl", {}, key=server.admin_key())  # none of the app's
    with server.followed(app, "logs", "--history", "5", "--success") as through:
        history = "\n".join(through("'sending' 'old-5'"))
        assert re.search(r"\[CONVEX M\(messages:send\)\] \[LOG\] 'sending' 'old-5'", history), history
        assert "old-0" not in history and "_system" not in history
        assert "Function executed in" in through(" ms")[-1]
        for n in range(3):
            send(server, "logged", f"new-{n}")
        followed = "\n".join(through("'sending' 'new-2'"))
    assert [followed.count(f"'new-{n}'") for n in range(3)] == [1, 1, 1], followed


# --- the server and what it lacks -------------------------------------------------------------------


def test_the_network_test_passes(server: RunningServer, app: Path) -> None:
    tested = server.cli(app, "network-test")
    assert tested.returncode == 0 and "Network test passed." in tested.stdout, tested.stdout


def test_the_dashboard_command_says_what_is_configured(server: RunningServer, app: Path) -> None:
    assert "Self-hosted deployment configured." in server.cli(app, "dashboard").stdout


def test_what_is_not_built_fails_at_once_and_by_name(server: RunningServer, app: Path) -> None:
    started = time.monotonic()
    old_export = app / "old.zip"
    old_export.write_bytes(zipped(t__generated_schema=b'"string"', t__documents=b"{}"))
    imported = server.cli(app, "import", "-y", str(old_export), seconds_max=RETRYING_SECONDS)
    assert imported.returncode == 1 and "not supported by this Tidelog version" in imported.stdout
    assert time.monotonic() - started < RETRYING_SECONDS
    unknown = httpx.get(f"{server.url}/api/nosuch/thing", headers={"convex-client": "npm-cli-1.48.0"})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "NotSupportedYet")
    assert httpx.get(f"{server.url}/api/nosuch/thing").status_code == 404
