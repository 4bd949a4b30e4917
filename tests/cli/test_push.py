"""The unmodified CLI pushes apps (spec 02 section 28, the rows of a push)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ..support.app_calls import call, count, until
from ..support.server import CONFORMANCE_APP, RunningServer, copy_app

SCHEMA_ROW = "counters: defineTable"


@pytest.fixture
def scratch(app: Path, tmp_path: Path) -> Path:
    """A copy of the pushed app to change."""
    return copy_app(CONFORMANCE_APP, tmp_path / "scratch")


@pytest.fixture
def restored(server: RunningServer, app: Path) -> object:
    """Whatever a test pushed, the session's app is active again afterwards."""
    yield None
    pushed = server.cli(app, "deploy", "-y")
    assert pushed.returncode == 0, pushed.stdout


def edit(project: Path, file: str, old: str, new: str) -> None:
    path = project / "convex" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_first_push_writes_the_environment_and_the_generated_code(server: RunningServer, app: Path) -> None:
    environment = (app / ".env.local").read_text()
    assert f"CONVEX_URL={server.url}" in environment and "CONVEX_SITE_URL=" in environment
    for name in ("api.js", "api.d.ts", "server.js", "server.d.ts", "dataModel.d.ts"):
        assert (app / "convex" / "_generated" / name).exists(), name


def test_an_unchanged_push_adds_no_index(server: RunningServer, app: Path) -> None:
    pushed = server.cli(app, "dev", "--once")
    assert pushed.returncode == 0 and "Convex functions ready!" in pushed.stdout
    assert "Added table indexes" not in pushed.stdout


def test_deploy_says_where_and_that_no_index_goes(server: RunningServer, app: Path) -> None:
    pushed = server.cli(app, "deploy", "-y")
    assert pushed.returncode == 0, pushed.stdout
    assert "No indexes are deleted by this push" in pushed.stdout
    assert f"Deployed Convex functions to {server.url}" in pushed.stdout


def test_codegen_changes_nothing(server: RunningServer, scratch: Path) -> None:
    edit(scratch, "messages.ts", "?? 0", "?? -1")
    assert server.cli(scratch, "codegen").returncode == 0
    ran = server.cli(scratch, "run", "messages:count", '{"name": "nobody"}')
    assert ran.stdout.strip() == "0", ran.stdout


def test_a_new_index_is_filled_and_served_and_a_removed_one_goes(
    server: RunningServer, scratch: Path, restored: object
) -> None:
    for number in range(3):
        server.cli(scratch, "run", "messages:send", f'{{"channel": "filled", "body": "body-{number}"}}')
    edit(scratch, "schema.ts", '["channel"])', '["channel"]).index("by_body", ["body"])')
    edit(
        scratch,
        "messages.ts",
        "export const remove",
        "export const byBody = query({ args: { body: v.string() }, handler: async (ctx, { body }) =>\n"
        '  await ctx.db.query("messages").withIndex("by_body", (q) => q.eq("body", body)).collect() });\n\n'
        "export const remove",
    )
    added = server.cli(scratch, "deploy", "-y")
    assert added.returncode == 0 and "[+] messages.by_body" in added.stdout, added.stdout
    found = server.cli(scratch, "run", "messages:byBody", '{"body": "body-1"}')
    assert '"body": "body-1"' in found.stdout, found.stdout
    shutil.copy(CONFORMANCE_APP / "convex" / "schema.ts", scratch / "convex" / "schema.ts")
    shutil.copy(CONFORMANCE_APP / "convex" / "messages.ts", scratch / "convex" / "messages.ts")
    removed = server.cli(scratch, "deploy", "-y")
    assert removed.returncode == 0 and "Deleted table indexes" in removed.stdout, removed.stdout
    assert "[-] messages.by_body" in removed.stdout


def test_a_schema_that_the_data_violates_is_refused_and_changes_nothing(
    server: RunningServer, scratch: Path, restored: object
) -> None:
    server.cli(scratch, "run", "messages:send", '{"channel": "violating", "body": "x"}')
    edit(scratch, "schema.ts", "channel: v.string(),", "channel: v.string(), topic: v.string(),")
    pushed = server.cli(scratch, "deploy", "-y", "--typecheck", "disable")
    assert pushed.returncode == 1 and "Schema validation failed." in pushed.stdout, pushed.stdout
    assert 'in table "messages" does not match the schema' in pushed.stdout
    assert "Object is missing the required field `topic`" in pushed.stdout
    sent = server.cli(scratch, "run", "messages:send", '{"channel": "still", "body": "works"}')
    assert sent.returncode == 0, sent.stdout


def test_a_module_that_throws_at_import_is_refused_by_name(
    server: RunningServer, scratch: Path, restored: object
) -> None:
    edit(scratch, "messages.ts", "export const send", 'throw new Error("boom");\nexport const send')
    pushed = server.cli(scratch, "deploy", "-y", "--typecheck", "disable")
    assert pushed.returncode == 1, pushed.stdout
    assert "InvalidModules" in pushed.stdout and "Failed to analyze messages.js" in pushed.stdout
    assert "boom" in pushed.stdout
    assert server.cli(scratch, "run", "messages:count", '{"name": "x"}').returncode == 0


def test_a_wrong_admin_key_is_refused_everywhere(server: RunningServer, app: Path) -> None:
    environment = server.environment()
    assert environment["CONVEX_SELF_HOSTED_ADMIN_KEY"].startswith("tidelog|")
    for command in (["deploy", "-y"], ["run", "messages:count", "{}"]):
        refused = server.cli(app, *command, "--url", server.url, "--admin-key", "tidelog|nonsense")
        assert refused.returncode == 1, refused.stdout
        assert "The provided admin key was invalid for this instance" in refused.stdout


def test_run_prints_results_and_names_what_exists(server: RunningServer, app: Path) -> None:
    hidden = server.cli(app, "run", "messages:hidden", "{}")
    assert hidden.stdout.strip() == '"hidden"', "an admin may run internal functions"
    unknown = server.cli(app, "run", "nosuch:fn")
    assert unknown.returncode == 1 and "Could not find function" in unknown.stdout
    assert "Available functions:" in unknown.stdout and "messages:list" in unknown.stdout
    named = server.cli(app, "run", "messages:whoami", "{}", "--identity", '{name: "Zoë"}')
    assert named.stdout.strip() == '"Zoë"', named.stdout


def test_environment_variables_are_set_shown_and_removed(server: RunningServer, app: Path) -> None:
    assert "Successfully set FOO" in server.cli(app, "env", "set", "FOO", "bar").stdout
    assert server.cli(app, "env", "get", "FOO").stdout.strip() == "bar"
    assert "FOO=bar" in server.cli(app, "env", "list", "--include-values").stdout
    assert "Successfully unset FOO" in server.cli(app, "env", "remove", "FOO").stdout
    refused = server.cli(app, "env", "set", "1X", "y")
    assert refused.returncode == 1 and "EnvironmentVariableNameInvalid" in refused.stdout


CRONS = """
import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();
crons.interval("tick", { seconds: 1 }, internal.jobs.count, { name: "ticks" });
crons.daily("never today", { hourUTC: 3, minuteUTC: 33 }, internal.jobs.count, { name: "daily" });
export default crons;
"""


@pytest.mark.usefixtures("restored")
def test_crons_run_while_they_are_part_of_the_app(server: RunningServer, scratch: Path) -> None:
    (scratch / "convex" / "crons.ts").write_text(CRONS)
    pushed = server.cli(scratch, "deploy", "-y")
    assert pushed.returncode == 0, pushed.stdout
    until(lambda: count(server, "ticks") >= 3, "the cron has run three times")
    assert count(server, "daily") == 0
    (scratch / "convex" / "crons.ts").unlink()
    assert server.cli(scratch, "deploy", "-y").returncode == 0
    ticks = count(server, "ticks")
    call(server, "mutation", "jobs:counted", {"name": "later", "times": 1, "delayMs": 2500})
    until(lambda: count(server, "later") == 1, "more than two periods have passed")
    assert count(server, "ticks") == ticks
