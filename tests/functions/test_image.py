"""Images: keys, module errors, the import phase, evaluations of special files."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from functions.engine import read_engine_files
from functions.image import ImageBuilder, image_key
from functions.isolate import CallRequest, ImageRequest, Returned, Terminated, Thrown
from functions.sandbox import Sandbox

from ..support.javascript import CACHE, NOW_MS, RecordingHost, Run, bundle, engine, image_request


def evaluate(modules: dict[str, bytes], path: str, kind: str, **facts: object) -> object:
    image = engine().build_image(ImageRequest(modules, (path,), **facts))  # type: ignore[arg-type]
    request = CallRequest("evaluate", (path, kind), now_ms=NOW_MS)
    return engine().isolate().start(image, request, RecordingHost())


def analyze(modules: dict[str, bytes], *paths: str) -> dict[str, dict[str, object]]:
    image = engine().build_image(image_request(modules))
    settled = engine().isolate().start(image, CallRequest("analyze", paths, now_ms=NOW_MS), RecordingHost())
    assert isinstance(settled, Returned), settled
    return json.loads(settled.json)


# --- keys and caching --------------------------------------------------------------------------------

REQUEST = ImageRequest({"a.js": b"export const a = 1;"}, ("a.js",))


@pytest.mark.parametrize(
    "change",
    [
        {"modules": {"a.js": b"export const a = 2;"}},
        {"entries": ()},
        {"environment": {"X": "1"}},
        {"import_now_ms": 1.0},
        {"import_seed": b"\1" * 32},
        {"component": "child"},
        {"clock_allowed": False},
        {"purpose": "schema"},
    ],
)
def test_every_ingredient_of_an_image_changes_its_key(change: dict[str, object]) -> None:
    assert image_key("engine", replace(REQUEST, **change)) != image_key("engine", REQUEST)  # type: ignore[arg-type]
    assert image_key("other engine", REQUEST) != image_key("engine", REQUEST)


def test_equal_requests_share_an_image() -> None:
    assert engine().build_image(REQUEST) is engine().build_image(replace(REQUEST))


def test_two_builders_make_the_same_bytes() -> None:
    files = read_engine_files()
    sandbox = Sandbox(files.wasm, CACHE)
    request = image_request(bundle("chat"), import_seed=random.Random(3).randbytes(32))
    first, second = (ImageBuilder(sandbox, files).image(request) for _ in range(2))
    assert first.runs == second.runs


def test_the_cache_drops_the_image_used_longest_ago() -> None:
    files = read_engine_files()
    builder = ImageBuilder(Sandbox(files.wasm, CACHE), files, cache_bytes_max=1)
    first = builder.image(REQUEST)
    builder.image(replace(REQUEST, component="other"))
    assert builder.image(REQUEST) is not first


def test_compiled_code_is_cached_in_the_folder_and_a_broken_file_is_replaced(tmp_path: Path) -> None:
    wasm = read_engine_files().wasm
    Sandbox(wasm, tmp_path)
    (cached,) = tmp_path.iterdir()
    whole = cached.stat().st_size
    cached.write_bytes(b"not machine code")
    Sandbox(wasm, tmp_path)
    assert [each.stat().st_size for each in tmp_path.iterdir()] == [whole]


def test_the_image_of_the_chat_app_is_small() -> None:
    assert engine().build_image(image_request(bundle("chat"))).bytes_held < 1_500_000


# --- modules that fail -------------------------------------------------------------------------------


def test_a_module_that_throws_fails_for_itself_and_its_importers_only() -> None:
    modules = {
        "bad.js": b'throw new TypeError("at import");',
        "user.js": b'import "./bad.js"; export const x = 1;',
        "dir/user.js": b'import "../bad.js"; export const x = 1;',
        "good.js": b"export const x = 1;",
    }
    image = engine().build_image(image_request(modules))
    for path in ("bad.js", "user.js", "dir/user.js"):
        error = image.module_error(path)
        assert isinstance(error, Thrown) and (error.name, error.message) == ("TypeError", "at import"), path
    assert image.module_error("good.js") is None
    assert analyze(modules, "bad.js", "good.js") == {
        "bad.js": {"error": "Uncaught TypeError: at import"},
        "good.js": {"functions": []},
    }


def test_calls_of_a_failed_module_get_its_error() -> None:
    run = Run('throw new Error("broken");')
    settled = run.call("f")
    assert isinstance(settled, Thrown) and settled.message == "broken" and settled.frames[0].module == "m.js"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("await new Promise(() => {});", "Top-level awaits in source files are unsupported"),
        ("for (;;);", "Function execution timed out (maximum duration: 4s)"),
        (
            "const kept = []; for (;;) kept.push(new Array(1e5).fill(0));",
            "JavaScript execution ran out of memory",
        ),
    ],
)
def test_a_module_that_never_ends_is_terminated_and_the_others_work(source: str, expected: str) -> None:
    image = engine().build_image(image_request({"a.js": source.encode(), "b.js": b"export const x = 1;"}))
    error = image.module_error("a.js")
    assert isinstance(error, Terminated) and error.message.startswith(expected)
    assert image.module_error("b.js") is None


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("export const x = ;", "SyntaxError", None),
        (
            'import "./gone.js";',
            "Error",
            "Couldn't find JavaScript module 'gone.js'. Did you forget to run `npx convex dev`?",
        ),
        ('import "https://x.test/a.js";', "Error", "Unsupported scheme (https) in https://x.test/a.js"),
        (
            'import "convex://host/a.js";',
            "Error",
            "Module URL convex://host/a.js must not have an authority. Has host",
        ),
        ('import "lodash";', "TypeError", None),
        ("Promise.reject(new RangeError('lost'));", "RangeError", "lost"),
    ],
)
def test_errors_of_loading_are_reported(source: str, name: str, message: str | None) -> None:
    error = engine().build_image(image_request({"a.js": source.encode()})).module_error("a.js")
    assert isinstance(error, Thrown) and error.name == name
    assert message is None or error.message == message


# --- the import phase --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('Convex.syscall("1.0/queryStream", "{}")', "Can't use database at import time"),
        ('await Convex.asyncSyscall("1.0/get", "{}")', "Can't use database at import time"),
        ('await Convex.asyncSyscall("1.0/runUdf", "{}")', "Cannot call another function at import time"),
        ('Convex.syscall("1.0/componentArgument", "{}")', "Can't use `componentArg` at import time"),
        (
            'await Convex.asyncSyscall("1.0/schedule", "{}")',
            "Syscall 1.0/schedule unsupported at import time",
        ),
        ('await fetch("https://x.test")', "fetch() unsupported at import time"),
        ("crypto.randomUUID()", "Cannot use cryptographic randomness at import time"),
    ],
)
def test_the_host_is_out_of_reach_at_import_time(expression: str, message: str) -> None:
    error = engine().build_image(image_request({"a.js": expression.encode()})).module_error("a.js")
    assert isinstance(error, Thrown) and error.message == message


def test_clock_and_randomness_at_import_come_from_the_request() -> None:
    source = """const now = Date.now(), r = Math.random(), p = performance.now();
      export const f = query(() => [now, r, p]);"""
    facts = {"import_now_ms": 1234.0, "import_seed": b"\7" * 32}
    first, second, other = (Run(source, f) for f in (facts, facts, {**facts, "import_seed": b"\6" * 32}))
    assert first.call("f") == second.call("f") != other.call("f")
    settled = first.call("f")
    assert isinstance(settled, Returned) and json.loads(settled.json)[::2] == [1234, 0]
    assert first.host.observations == []


def test_lines_printed_at_import_are_kept() -> None:
    image = engine().build_image(image_request({"a.js": b'console.warn("early", 1);'}))
    assert image.console_lines == (("WARN", '["\'early\'","1"]'),)


def test_the_environment_is_part_of_the_image() -> None:
    source = """const early = process.env.A;
      export const f = query(() => [early, process.env.A, process.env.B ?? null]);"""
    assert Run(source, {"environment": {"A": "x"}}).call("f") == Returned(b'["x","x",null]')


# --- evaluations -------------------------------------------------------------------------------------


def test_the_special_files_of_an_app_made_with_the_package_evaluate() -> None:
    modules = bundle("chat")
    schema = evaluate(modules, "schema.js", "schema")
    assert isinstance(schema, Returned) and json.loads(schema.json)["tables"][0]["tableName"] == "messages"
    crons = evaluate(modules, "crons.js", "crons")
    assert isinstance(crons, Returned)
    assert json.loads(crons.json) == {
        "sweep": {"name": "messages:clear", "args": [{}], "schedule": {"type": "interval", "minutes": 5}}
    }
    http = evaluate(modules, "http.js", "http")
    assert isinstance(http, Returned)
    routes = [{"path": "/hi", "method": "GET"}, {"path": "/files/*", "method": "POST"}]
    assert json.loads(http.json) == routes
    auth = evaluate(
        modules, "auth.config.js", "auth", purpose="auth", environment={"ISSUER": "https://i.test"}
    )
    assert auth == Returned(b'{"providers":[{"domain":"https://i.test","applicationID":"convex"}]}')
    app = evaluate(modules, "convex.config.js", "app", clock_allowed=False)
    assert isinstance(app, Returned) and json.loads(app.json)["definitionType"] == {"type": "app"}


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("schema", "export const x = 1;", "Schema file missing default export. "),
        ("schema", "export default 1;", "Default export from schema file isn't a Convex schema. "),
        ("http", "export const x = 1;", "`convex/http.js` must have a default export of a Router."),
        ("http", "export default {};", "The default export of `convex/http.js` is not a Router."),
        ("crons", "export const x = 1;", "`convex/crons.js` must have a default export of a Crons object."),
        ("crons", "export default {};", "The default export of `convex/crons.js` is not a Crons object."),
        ("auth", "export const x = 1;", "auth config file is missing default export. "),
    ],
)
def test_wrong_default_exports_are_refused(kind: str, source: str, message: str) -> None:
    settled = evaluate({"a.js": source.encode()}, "a.js", kind)
    assert isinstance(settled, Terminated) and settled.message.startswith(message)


@pytest.mark.parametrize(
    ("facts", "source", "message"),
    [
        ({"purpose": "schema"}, "process.env.X", "Environment variables unsupported when evaluating schema"),
        (
            {"purpose": "auth"},
            "process.env.X",
            "Environment variable X is used in auth config file but its value was not set",
        ),
        (
            {"clock_allowed": False},
            "new Date()",
            "new Date() is unsupported when evaluating a configuration file",
        ),
        (
            {"clock_allowed": False},
            "Math.random()",
            "Math.random() is unsupported when evaluating a configuration file",
        ),
    ],
)
def test_configurations_may_not_depend_on_what_is_not_theirs(
    facts: dict[str, object], source: str, message: str
) -> None:
    settled = evaluate({"a.js": f"export default [{source}];".encode()}, "a.js", "auth", **facts)
    assert isinstance(settled, Thrown) and settled.message == message


# --- analysis ----------------------------------------------------------------------------------------


def test_functions_made_with_the_package_are_analysed() -> None:
    found = analyze(bundle("chat"), "messages.js")["messages.js"]["functions"]
    assert isinstance(found, list)
    by_name = {each["name"]: each for each in found}
    assert (by_name["send"]["kind"], by_name["send"]["visibility"]) == ("mutation", "public")
    assert (by_name["clear"]["visibility"], by_name["greet"]["kind"]) == ("internal", "action")
    assert json.loads(by_name["one"]["args"]) == {
        "type": "object",
        "value": {"id": {"fieldType": {"type": "string"}, "optional": False}},
    }
    assert (by_name["one"]["returns"], by_name["list"]["returns"]) == ('{"type":"any"}', None)


@pytest.mark.parametrize(
    ("members", "error"),
    [
        (
            "exportArgs: () => 1",
            "Invalid exportArgs return value: a.js:f.exportArgs() didn't return a string.",
        ),
        ("exportArgs: () => '{'", "Invalid JSON returned from a.js:f.exportArgs()."),
        ("exportReturns: 3", "a.js:f.exportReturns is not a function or `undefined`."),
        (
            "exportArgs() { throw new TypeError('undefined validator'); }",
            "Uncaught TypeError: undefined validator",
        ),
    ],
)
def test_validators_that_cannot_be_exported_fail_the_analysis(members: str, error: str) -> None:
    modules = {"a.js": f"export const f = Object.assign(() => 1, {{ isQuery: true, {members} }});".encode()}
    assert analyze(modules, "a.js") == {"a.js": {"error": error}}


def test_exports_that_are_no_functions_are_skipped() -> None:
    source = """
      export const n = 1, o = {}, plain = () => 1;
      export const both = Object.assign(() => 1, { isQuery: true, isMutation: true });
      export const visibleTwice = Object.assign(() => 1, { isQuery: true, isPublic: true, isInternal: true });
      export const ancient = Object.assign(() => 1, { isQuery: true });
    """
    found = analyze({"a.js": source.encode()}, "a.js")["a.js"]["functions"]
    assert isinstance(found, list)
    assert [(each["name"], each["visibility"]) for each in found] == [("ancient", None)]
