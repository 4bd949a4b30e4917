"""Components of a real app: the same one mounted twice, with a child of its own (spec 02 11, spec 03 5.5)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from ..support.app_calls import call, count, until
from ..support.server import RunningServer
from .test_metrics import scrape

pytestmark = pytest.mark.usefixtures("app")


def failure_of(server: RunningServer, kind: str, path: str, args: dict[str, Any]) -> Any:
    """(message, data) of a call that fails."""
    body = {"path": path, "args": args, "format": "json"}
    answer = httpx.post(f"{server.url}/api/{kind}", json=body, timeout=30).json()
    assert answer["status"] == "error", answer
    return answer["errorMessage"], answer.get("errorData")


def add(server: RunningServer, account: str, amount: float, where: str = "ledger", **more: Any) -> Any:
    args = {"where": where, "account": account, "amount": amount, **more}
    return call(server, "mutation", "ledger:add", args)


def balance(server: RunningServer, account: str, where: str = "ledger") -> Any:
    return call(server, "query", "ledger:balance", {"where": where, "account": account})


def test_each_instance_has_its_own_tables_and_environment(server: RunningServer) -> None:
    add(server, "ann", 3)
    add(server, "ann", 4)
    add(server, "ann", 50, where="second")
    assert balance(server, "ann") == {"amount": 7, "currency": "EUR", "note": None}
    assert balance(server, "ann", where="second") == {"amount": 50, "currency": "CHF", "note": None}
    assert call(server, "query", "messages:list", {"channel": "ann"}) == []


def test_a_component_calls_its_own_child_and_only_that(server: RunningServer) -> None:
    add(server, "child", 1, where="second")
    trail: Any = call(server, "query", "ledger:trail", {"where": "second"})
    assert "child 1" in trail
    assert "child 1" not in call(server, "query", "ledger:trail", {"where": "ledger"})  # type: ignore[operator]
    message, _ = failure_of(server, "mutation", "ledger:reaches", {"path": ["audit", "trail", "note"]})
    assert 'Child component "audit" not found' in message


def test_what_is_not_public_is_not_exported(server: RunningServer) -> None:
    message, _ = failure_of(
        server, "mutation", "ledger:reaches", {"path": ["ledger", "entries", "addHidden"]}
    )
    assert "does not export [entries, addHidden]" in message


def test_a_failed_call_leaves_nothing_in_any_component_and_its_caller_goes_on(server: RunningServer) -> None:
    refused = call(server, "mutation", "ledger:addAndCatch", {"account": "caught", "amount": 9})
    assert refused == {"code": "REFUSED", "account": "caught"}
    assert balance(server, "caught")["amount"] == 0
    assert "caught 9" not in call(server, "query", "ledger:trail", {"where": "ledger"})  # type: ignore[operator]
    kept: Any = call(server, "query", "messages:list", {"channel": "caught"})
    assert [message["body"] for message in kept] == ["before"]


def test_a_failure_that_nobody_catches_undoes_the_whole_mutation(server: RunningServer) -> None:
    args = {"where": "ledger", "account": "whole", "amount": 9, "fails": True}
    message, data = failure_of(server, "mutation", "ledger:add", args)
    assert data == {"code": "REFUSED", "account": "whole"} and "ConvexError" in message
    assert balance(server, "whole")["amount"] == 0


def test_arguments_are_checked_against_the_components_own_tables(server: RunningServer) -> None:
    message, _ = failure_of(
        server, "mutation", "ledger:add", {"where": "ledger", "account": "x", "amount": 1, "more": 1}
    )
    assert "ArgumentValidationError" in message


def test_queries_of_a_component_have_no_pages(server: RunningServer) -> None:
    message, _ = failure_of(server, "query", "ledger:pages", {})
    assert "paginate() is only supported in the app." in message


def test_variables_of_the_app_are_unknown_unless_they_are_bound(server: RunningServer, app: Path) -> None:
    before: Any = call(server, "query", "ledger:facts", {"where": "ledger"})
    assert before == {"site": f"{server.site_url}/ledger", "secret": None, "who": None}
    second: Any = call(server, "query", "ledger:facts", {"where": "second"})
    assert second["site"] == server.site_url
    changed = server.cli(app, "env", "set", "LEDGER_NOTE", "bound")
    assert changed.returncode == 0, changed.stdout
    assert balance(server, "nobody")["note"] == "bound"
    assert balance(server, "nobody", where="second")["note"] is None
    after: Any = call(server, "query", "ledger:facts", {"where": "ledger"})
    assert after["secret"] is None
    removed = server.cli(app, "env", "remove", "LEDGER_NOTE")
    assert removed.returncode == 0, removed.stdout


def test_a_job_of_a_component_runs_in_it_and_only_it_sees_the_job(server: RunningServer) -> None:
    job_id = call(server, "mutation", "ledger:addLater", {"account": "later", "amount": 11})
    until(lambda: balance(server, "later")["amount"] == 11, "the job runs")
    seen = call(server, "query", "ledger:job", {"id": job_id})
    assert seen == {"component": "success", "second": None, "app": None}


def test_a_handle_leads_out_of_a_component(server: RunningServer) -> None:
    call(server, "mutation", "ledger:calledBack", {"name": "called-back"})
    assert count(server, "called-back") == 1


def test_an_action_of_a_component_has_its_files_and_no_user(server: RunningServer) -> None:
    done: Any = call(server, "action", "ledger:acts", {"account": "acted"})
    assert (done["text"], done["user"], done["currency"]) == ("of the component", None, "EUR")
    assert "?component=" in done["url"]
    assert balance(server, "acted")["amount"] == 5
    seen = call(server, "query", "ledger:file", {"id": done["stored"]})
    assert seen == {"component": done["url"], "second": None, "app": None}
    assert httpx.get(done["url"].partition("?")[0]).status_code == 404


@pytest.mark.parametrize("where", ["ledger", "second"])
def test_a_component_signs_as_itself_and_not_as_the_app(server: RunningServer, where: str) -> None:
    token = call(server, "mutation", "ledger:issues", {"where": where})
    [key] = httpx.get(f"{server.url}/.well-known/jwks.json").json()["keys"]
    issuer = f"{server.url}/components/{where}"
    claims = jwt.decode(str(token), jwt.PyJWK(key), algorithms=["ES256"], issuer=issuer)
    assert claims["sub"] == "entry"


def test_what_jobs_and_actions_run_in_a_component_is_told_with_it(server: RunningServer, app: Path) -> None:
    def mark(request_id: str) -> str:
        """A line of the logs that is none of the others."""
        body = {"path": "messages:count", "args": {"name": request_id}}
        headers = {"Convex-Request-Id": request_id}
        assert httpx.post(f"{server.url}/api/query", json=body, headers=headers).status_code == 200
        return request_id

    first = mark("f" * 16)
    call(server, "mutation", "ledger:addLater", {"account": "told", "amount": 1})
    until(lambda: balance(server, "told")["amount"] == 1, "the job runs")
    call(server, "action", "ledger:acts", {"account": "told"})
    last = mark("e" * 16)
    with server.followed(app, "logs", "--jsonl", "--history") as through:
        through(first)
        lines = through(last)
    entries = [entry for line in lines if line.startswith("{") for entry in [json.loads(line)]]
    told = {(entry["caller"], entry["componentPath"], entry["identifier"]) for entry in entries}
    expected = {
        ("Scheduler", "ledger", "entries:addHidden"),
        ("Action", "ledger", "entries:addHidden"),
        ("Action", "ledger", "entries:acts"),
        ("HttpApi", None, "ledger:acts"),
    }
    assert expected <= told, told
    assert not [path for _, component, path in told if path.startswith("entries:") and component is None]
    added = [entry for entry in entries if entry["identifier"] == "entries:addHidden"]
    assert len(added) == 2, "by the job, and by the action"
    assert {entry["componentPath"] for entry in added} == {"ledger"}
    labels = {"component": "ledger", "function": "entries:addHidden", "type": "Mutation"}
    in_ledger = scrape(server)[
        "tidelog_function_calls_total", frozenset({**labels, "outcome": "success"}.items())
    ]
    assert in_ledger >= 2

    def delivered() -> bool:
        assert server.sink_file is not None
        lines = [json.loads(line) for line in server.sink_file.read_text().splitlines()]
        ids = {entry["executionId"] for entry in lines if entry.get("componentPath") == "ledger"}
        return {entry["executionId"] for entry in added} <= ids

    until(delivered, "the sink gets them")


def test_requests_below_its_prefix_are_a_components(server: RunningServer) -> None:
    answer = httpx.post(f"{server.site_url}/ledger/deposit", content="21", timeout=30)
    assert answer.json() == {"path": "/ledger/deposit", "user": None}
    assert balance(server, "http")["amount"] == 21
    assert httpx.post(f"{server.site_url}/deposit", content="21").status_code == 404


def test_only_an_admin_calls_a_component_from_outside(server: RunningServer) -> None:
    body = {
        "path": "entries:balance",
        "args": {"account": "ann"},
        "format": "json",
        "componentPath": "second",
    }
    key = {"Authorization": f"Convex {server.admin_key()}"}
    answer = httpx.post(f"{server.url}/api/function", json=body, headers=key).json()
    assert answer["value"]["currency"] == "CHF"
    assert httpx.post(f"{server.url}/api/query", json=body).json().get("status") != "success"
    missing = httpx.post(
        f"{server.url}/api/function", json={**body, "componentPath": "third"}, headers=key
    ).json()
    assert "Component path 'third' not found" in missing["errorMessage"]


def test_the_cli_reads_and_runs_in_a_component(server: RunningServer, app: Path) -> None:
    add(server, "cli", 8)
    shown = server.cli(
        app, "data", "messages", "--component", "ledger", "--format", "jsonl", "--limit", "9000"
    )
    assert '"account": "cli"' in shown.stdout, shown.stdout
    ran = server.cli(app, "run", "--component", "ledger", "entries:balance", json.dumps({"account": "cli"}))
    assert '"amount": 8' in ran.stdout, ran.stdout


def test_an_inline_query_reads_the_tables_of_the_component_it_is_sent_to(
    server: RunningServer, app: Path
) -> None:
    add(server, "inline", 9, where="second")
    text = """
      const rows = await ctx.db.query("messages").collect();
      return rows.filter((row) => row.account === "inline").map((row) => [row.amount, process.env.CURRENCY]);
    """
    ran = server.cli(app, "run", "--inline-query", text, "--component", "second")
    assert json.loads(ran.stdout) == [[9, "CHF"]], ran.stdout
    elsewhere = server.cli(app, "run", "--inline-query", text, "--component", "ledger")
    assert json.loads(elsewhere.stdout) == [], elsewhere.stdout
    headers = {"Authorization": f"Convex {server.admin_key()}"}
    body = {"args": {}, "bundle": {"path": "testQuery.js", "source": ""}, "componentId": "nobody"}
    missing = httpx.post(f"{server.url}/api/run_test_function", json=body, headers=headers)
    assert (missing.status_code, missing.json()["code"]) == (400, "ComponentNotFound")


def test_the_data_of_components_is_exported_and_comes_back(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    add(server, "exported", 5)
    add(server, "exported", 7, where="second")
    path = tmp_path / "all.zip"
    exported = server.cli(app, "export", "--path", str(path))
    assert exported.returncode == 0, exported.stdout
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert "_components/second/_components/audit/lines/documents.jsonl" in names
    add(server, "exported", 100)
    add(server, "exported", 100, where="second")
    imported = server.cli(app, "import", "--replace-all", "-y", str(path))
    assert imported.returncode == 0, imported.stdout
    assert "Component second/audit" in imported.stdout
    assert balance(server, "exported")["amount"] == 5
    assert balance(server, "exported", where="second")["amount"] == 7
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"account": "imported", "amount": 11}\n')
    arguments = ("--table", "messages", "--append", "--component", "second", str(rows))
    appended = server.cli(app, "import", *arguments)
    assert appended.returncode == 0, appended.stdout
    assert balance(server, "imported", where="second")["amount"] == 11
    assert balance(server, "imported")["amount"] == 0


def test_a_component_that_nobody_mounts_is_deleted_in_steps_with_what_it_owns(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    path = tmp_path / "left.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_components/left/rows/documents.jsonl", '{"n": 1}\n')
        archive.writestr("_components/left/_components/below/rows/documents.jsonl", '{"n": 2}\n')
    imported = server.cli(app, "import", "--append", "-y", str(path))
    assert imported.returncode == 0, imported.stdout
    headers = {"Authorization": f"Convex {server.admin_key()}"}

    def components() -> dict[str, str]:
        body = {"path": "_system/frontend/components:list", "args": {}, "format": "json"}
        answer = httpx.post(f"{server.url}/api/query", json=body, headers=headers, timeout=30).json()
        return {each["path"]: each["id"] for each in answer["value"]}

    def delete(component_id: str) -> httpx.Response:
        body = {"componentId": component_id}
        return httpx.post(f"{server.url}/api/delete_component", json=body, headers=headers, timeout=60)

    before = components()
    assert {"left", "left/below", "ledger"} <= before.keys()
    # More jobs than one step reads: they are the app's, and stay.
    call(server, "mutation", "jobs:counted", {"name": "beside", "times": 999, "delayMs": 600_000})
    call(server, "mutation", "jobs:counted", {"name": "beside", "times": 50, "delayMs": 600_000})
    refused = delete(before["ledger"])
    assert (refused.status_code, refused.json()["code"]) == (400, "ComponentMustBeUnmounted")
    answer = delete(before["left"])
    assert (answer.status_code, answer.content) == (200, b""), answer.text
    assert components().keys() == before.keys() - {"left", "left/below"}
    again = delete(before["left"])
    assert (again.status_code, again.json()["code"]) == (400, "ComponentNotFound")
    states: Any = call(server, "query", "jobs:list", {"name": "beside"})
    assert states == ["pending"] * 1_049
    httpx.post(
        f"{server.url}/api/cancel_all_jobs", json={"udfPath": "jobs:count"}, headers=headers, timeout=60
    )


# --- components from npm ------------------------------------------------------------------------------


def test_the_rate_limiter_limits(server: RunningServer) -> None:
    tried = call(server, "mutation", "pools:tryOften", {"key": "ann", "name": "tries", "times": 5})
    assert tried == [True, True, True, False, False]
    assert call(server, "query", "pools:mayTry", {"key": "ann"}) is False
    assert call(server, "query", "pools:mayTry", {"key": "bob"}) is True
    bucket = call(server, "mutation", "pools:tryOften", {"key": "ann", "name": "bucket", "times": 3})
    assert bucket == [True, True, False]


def test_the_aggregate_counts_sums_and_ranks(server: RunningServer) -> None:
    scores = [float(17 * n % 101) for n in range(40)]
    call(server, "mutation", "pools:score", {"namespace": "a", "scores": scores})
    call(server, "mutation", "pools:score", {"namespace": "b", "scores": [1.0, 2.0, 3.0]})
    found = call(server, "query", "pools:ranking", {"namespace": "a"})
    expected = {"count": 40, "sum": sum(scores), "max": max(scores), "third": sorted(scores)[2]}
    assert found == expected
    small: Any = call(server, "query", "pools:ranking", {"namespace": "b"})
    assert small["count"] == 3


def test_the_workpool_runs_everything_once_and_tells_how_it_ended(server: RunningServer) -> None:
    def bodies() -> list[str]:
        found: Any = call(server, "query", "messages:list", {"channel": "pool"})
        return sorted(message["body"] for message in found)

    call(server, "mutation", "pools:work", {"name": "pool", "times": 4})
    expected = sorted(["mutation"] * 4 + [f"action {n * n}" for n in range(4)])
    until(lambda: len(bodies()) >= len(expected), "the pool is done")
    assert bodies() == expected
