"""What JavaScript finds: entry points, errors, determinism, console, platform globals (spec 03 1-3)."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from functions.isolate import CallRequest, Frame, Returned, Terminated, Thrown
from log.errors import bad_request

from ..support.javascript import NOW_MS, RecordingHost, Run, bundle, engine, image_request


def value_of(expression: str, kind: str = "query", **request: Any) -> object:
    """What `expression` (an async function body may use await) gives as JSON."""
    run = Run(f"export const f = {kind}(async () => {{ return {expression}; }});")
    settled = run.call("f", kind=kind, **request)
    assert isinstance(settled, Returned), settled
    return json.loads(settled.json)


def error_of(statement: str, kind: str = "query") -> Thrown | Terminated:
    run = Run(f"export const f = {kind}(async () => {{ {statement} }});")
    settled = run.call("f", kind=kind)
    assert isinstance(settled, Thrown | Terminated), settled
    return settled


# --- the unmodified package --------------------------------------------------------------------------


def chat(
    name: str, kind: str, args: object, **answers: bytes | Exception | None
) -> tuple[object, RecordingHost]:
    image, isolate = engine().build_image(image_request(bundle("chat"))), engine().isolate()
    host = RecordingHost({f"1.0/{call}": answer for call, answer in answers.items()})
    request = CallRequest("call", ("messages.js", name, kind), json.dumps([args]).encode(), now_ms=NOW_MS)
    return isolate.start(image, request, host), host


def test_functions_of_the_package_run_unmodified() -> None:
    document = b'{"_creationTime":1,"_id":"a","n":{"$integer":"BQAAAAAAAAA="}}'
    settled, host = chat("one", "query", {"id": "a"}, get=document)
    assert isinstance(settled, Returned) and json.loads(settled.json) == json.loads(document)
    assert [name for name, _ in host.calls] == ["1.0/get"]
    settled, host = chat("send", "mutation", {"channel": "c", "body": "b"}, insert=b'{"_id":"new"}')
    assert settled == Returned(b'"new"')
    assert [name for name, _ in host.calls] == ["1.0/insert", "1.0/shallowMerge"]
    assert chat("greet", "action", {})[0] == Returned(b'"hello"')


def test_a_convex_error_keeps_its_data() -> None:
    settled, _ = chat("refuse", "mutation", {})
    assert isinstance(settled, Thrown) and settled.name == "ConvexError"
    assert json.loads(settled.data_json or b"") == {"code": 7, "why": "full"}


def test_data_of_a_nested_error_reaches_the_caller() -> None:
    refusal = bad_request("Nested", "Uncaught ConvexError: inner\n    at f (m.js:1:1)\n")
    refusal.data = {"code": 1.0}
    settled, _ = chat("nested", "query", {}, runUdf=refusal)
    assert isinstance(settled, Thrown) and settled.name == "ConvexError"
    assert json.loads(settled.data_json or b"") == {"code": 1}


# --- entering ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("gone", "query", 'Couldn\'t find "gone" in module "m.js".'),
        ("toString", "query", 'Couldn\'t find "toString" in module "m.js".'),
        ("q", "mutation", "Function m.js:q is registered as a query but is being run as a mutation."),
        ("m", "query", "Function m.js:m is registered as a mutation but is being run as a query."),
        (
            "plain",
            "query",
            "Function m.js:plain is neither a query or mutation. "
            "Did you forget to wrap it with `query` or `mutation`?",
        ),
    ],
)
def test_the_export_must_exist_and_be_of_the_kind(name: str, kind: str, message: str) -> None:
    run = Run("export const q = query(() => 1), m = mutation(() => 1), plain = () => 1;")
    assert run.call(name, kind=kind) == Terminated(message, "uncatchable")


def test_arguments_arrive_as_given_and_actions_get_the_request_id() -> None:
    source = """
      export const q = query((args) => JSON.parse(args));
      export const a = Object.assign(() => 1, {
        isAction: true, invokeAction: async (id, args) => JSON.stringify([id, args]),
      });
    """
    run = Run(source)
    assert run.call("q", args='[{"é":"\U0001f30a"}]'.encode()) == Returned('[{"é":"\U0001f30a"}]'.encode())
    assert run.call("a", kind="action") == Returned(b'["dummy_request_id","[{}]"]')


def test_dynamic_import_is_refused_in_queries_and_works_in_actions() -> None:
    source = """
      const load = async () => (await import("./other.js")).x;
      export const q = query(() => load().catch((e) => [e.name, e.message]));
      export const a = action(load);
    """
    run = Run(source, other="export const x = 42;")
    assert run.call("q") == Returned(b'["TypeError","dynamic module import unsupported"]')
    assert run.call("a", kind="action") == Returned(b"42")


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thrown", "message"),
    [
        ('"foo"', "foo"),
        ("42", "42"),
        ("null", "null"),
        ("undefined", "undefined"),
        ("({ a: 1 })", "#<Object>"),
        ("new (class Odd {})()", "#<Odd>"),
        ("Object.create(null)", "#<Object>"),
        ("Symbol('s')", "Symbol(s)"),
        ("new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })", "#<Object>"),
    ],
)
def test_values_that_are_no_errors_are_described_as_v8_prints_them(thrown: str, message: str) -> None:
    assert error_of(f"throw {thrown};") == Thrown("", message, is_error=False)


def test_hostile_error_objects_cannot_break_the_report() -> None:
    source = """const e = new Error("x"); Object.defineProperty(e, "message", { get() { throw e; } });
      Object.defineProperty(e, "stack", { value: Symbol("no text") }); e.name = "\\ud800"; throw e;"""
    assert error_of(source) == Thrown("\ufffd", "", (), None)


def test_frames_name_functions_and_places_of_user_modules_only() -> None:
    source = """function inner() { throw new RangeError("deep"); }
      export const f = query(() => [1].map(() => inner()));"""
    run = Run(source)
    settled = run.call("f")
    assert isinstance(settled, Thrown)
    inner = settled.frames[0]
    assert (inner.function, inner.module) == ("inner", "m.js") and inner.line > 1 and inner.column > 1
    assert all(isinstance(frame, Frame) and frame.module == "m.js" for frame in settled.frames)
    assert settled.frames[1].function is None


def test_errors_are_equal_for_equal_calls() -> None:
    run = Run("export const f = query(() => { throw new Error('at ' + Math.random()); });")
    assert run.call("f", seed=b"\1" * 32) == run.call("f", seed=b"\1" * 32) != run.call("f", seed=b"\2" * 32)


# --- determinism -------------------------------------------------------------------------------------


def test_the_clock_is_frozen_and_reported_once() -> None:
    run = Run("""export const f = query(async () => {
      const seen = [Date.now(), new Date().getTime(), performance.now() + performance.timeOrigin];
      for (let i = 0; i < 1e5; i++); await null;
      return [...seen, Date.now(), typeof Date(), new Date(0).getTimezoneOffset(), new Date(5).getTime()];
    });""")
    now = int(NOW_MS)
    assert run.call("f") == Returned(
        json.dumps([now, now, now, now, "string", 0, 5]).replace(" ", "").encode()
    )
    assert run.host.observations == ["time"]


def test_what_is_not_observed_is_not_reported() -> None:
    run = Run("export const f = query(() => new Date(5).toISOString());")
    assert run.call("f") == Returned(b'"1970-01-01T00:00:00.005Z"')
    assert run.host.observations == []


def test_randomness_is_a_function_of_the_seed() -> None:
    source = """export const f = query(() => [
      Math.random(), crypto.randomUUID(), [...crypto.getRandomValues(new Uint8Array(5))], Math.random()]);"""
    run, seeds = Run(source), random.Random(11)
    outcomes = {}
    for _ in range(20):
        seed = seeds.randbytes(32)
        outcomes[seed] = run.call("f", seed=seed)
        assert run.call("f", seed=seed) == outcomes[seed], "seed 11"
    assert len({outcome.json for outcome in outcomes.values() if isinstance(outcome, Returned)}) == 20
    assert run.host.observations == ["random"] * 40


def test_random_values_of_an_action_do_not_follow_from_its_seed() -> None:
    source = """export const f = action(() => [
      crypto.randomUUID(), [...crypto.getRandomValues(new Uint8Array(65536).subarray(1, 33))]]);"""
    run, seed, length = Run(source), bytes(32), 32
    drawn = []
    for _ in range(3):
        settled = run.call("f", kind="action", seed=seed)
        assert isinstance(settled, Returned), settled
        drawn.append(json.loads(settled.json))
    uuids, values = zip(*drawn, strict=True)
    assert len(set(uuids)) == 3 and all(len(set(each)) > length / 2 for each in values)
    assert len({tuple(each) for each in values}) == 3


def test_random_values_of_an_action_fill_just_the_view_they_were_asked_for() -> None:
    expression = """(() => {
      const whole = new Uint8Array(96), words = new Uint32Array(whole.buffer, 32, 8);
      return [crypto.getRandomValues(words) === words, [...whole]]; })()"""
    is_same, whole = value_of(expression, kind="action")  # type: ignore[misc]
    assert is_same and not any(whole[:32] + whole[64:]) and len(set(whole[32:64])) > 16
    assert value_of("[...crypto.getRandomValues(new Uint8Array(0))]", kind="action") == []


def test_the_generator_agrees_with_a_twin_in_python() -> None:
    """xoshiro256** seeded through splitmix64, written again with Python's integers."""
    seed = random.Random(5).randbytes(32)
    assert value_of("Array.from({ length: 100 }, Math.random)", seed=seed) == twin_of_random(seed, 100)


def twin_of_random(seed: bytes, count: int) -> list[float]:
    mask = (1 << 64) - 1
    state, carry = [], 0
    for start in range(0, 32, 8):
        carry = (carry + int.from_bytes(seed[start : start + 8], "little") + 0x9E3779B97F4A7C15) & mask
        word = ((carry ^ carry >> 30) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ word >> 27) * 0x94D049BB133111EB) & mask
        state.append(word ^ word >> 31)

    def rotate(word: int, by: int) -> int:
        return (word << by | word >> (64 - by)) & mask

    drawn = []
    for _ in range(count):
        drawn.append(((rotate(state[1] * 5 & mask, 7) * 9 & mask) >> 11) / (1 << 53))
        shifted = state[1] << 17 & mask
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotate(state[3], 45)
    return drawn


def test_random_uuids_have_the_right_form() -> None:
    uuid = str(value_of("crypto.randomUUID()"))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", uuid), uuid


def test_random_values_are_limited_and_typed() -> None:
    error = error_of("crypto.getRandomValues(new Uint8Array(65537));")
    assert isinstance(error, Thrown) and error.message == (
        "Byte length (65537) exceeds the number of bytes of entropy available via this API (65536)"
    )
    error = error_of("crypto.getRandomValues(new Float64Array(1));")
    assert isinstance(error, Thrown) and error.name == "TypeMismatchError"


def test_actions_see_the_real_clock() -> None:
    now = value_of("Date.now()", kind="action")
    assert isinstance(now, int) and now > NOW_MS


# --- console -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ('"hi"', "'hi'"),
        ("({ a: 1 })", "{\n  a: 1\n}"),
        ("({ a: { b: [1, 'x'] } })", "{\n  a: {\n    b: [ 1, 'x' ]\n  }\n}"),
        ("['string', 42]", "[ 'string', 42 ]"),
        ("({})", "{}"),
        ("[]", "[]"),
        ("function f() {}", "[Function: f]"),
        ("(() => {})", "[Function (anonymous)]"),
        ("new (class MyClass {})()", "MyClass {}"),
        ("1n", "1n"),
        ("new Error('boom')", "[Error: boom]"),
        ("new Map([[1, 2]])", "Map (1) {\n  1 => 2\n}"),
        ("process.env", "[process.env]"),
    ],
)
def test_console_renders_as_object_inspect(expression: str, shown: str) -> None:
    run = Run(f"export const f = query(() => {{ console.log({expression}); }});")
    run.call("f")
    assert run.host.lines == [("LOG", [shown])]


def test_console_levels_and_timers_have_the_specified_texts() -> None:
    run = Run("""export const f = query(() => {
      console.debug(1); console.info(2); console.warn(3); console.error(4, "x");
      console.time(); console.time(); console.timeLog("default", 5); console.timeEnd();
      console.timeEnd("other");
    });""")
    run.call("f")
    assert run.host.lines == [
        ("DEBUG", ["1"]),
        ("INFO", ["2"]),
        ("WARN", ["3"]),
        ("ERROR", ["4", "'x'"]),
        ("WARN", ["Timer 'default' already exists"]),
        ("INFO", ["default: 0ms", "5"]),
        ("INFO", ["default: 0ms"]),
        ("WARN", ["Timer 'other' does not exist"]),
    ]
    assert run.host.observations == [], "timing a piece of code does not observe the clock"


def test_console_trace_appends_the_stack() -> None:
    run = Run("export const f = query(() => { console.trace('here'); });")
    run.call("f")
    ((level, messages),) = run.host.lines
    assert (level, messages[0]) == ("LOG", "'here'") and messages[1].startswith("\n    at ")


# --- globals -----------------------------------------------------------------------------------------

ABSENT = """
    window document navigator require Buffer global queueMicrotask MessageChannel Worker WebSocket
    XMLHttpRequest localStorage setImmediate SharedArrayBuffer __host
"""
PRESENT = """
    Convex self process console URL URLSearchParams crypto Crypto SubtleCrypto CryptoKey
    DOMException Event EventTarget structuredClone setTimeout setInterval clearTimeout
    clearInterval AbortController AbortSignal AsyncLocalStorage AsyncResource ReadableStream
    TransformStream WritableStream TextEncoder TextDecoder TextEncoderStream TextDecoderStream atob
    btoa Blob File Headers FormData Request Response fetch performance Performance WebAssembly Intl
    WeakRef FinalizationRegistry
"""


@pytest.mark.parametrize("kind", ["query", "mutation", "action"])
def test_the_specified_globals_are_present_and_the_others_absent(kind: str) -> None:
    absent, present = ABSENT.split(), PRESENT.split()
    names = json.dumps(absent + present)
    kinds = value_of(f"{names}.map((name) => typeof globalThis[name])", kind)
    assert isinstance(kinds, list)
    found = dict(zip(absent + present, kinds, strict=True))
    assert {name for name in absent if found[name] != "undefined"} == set()
    assert {name for name in present if found[name] == "undefined"} == set()
    assert value_of("[self === globalThis, Object.keys(process)]", kind) == [True, ["env"]]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('await fetch("https://x.test");', "Can't use fetch() in queries and mutations. "),
        ("setTimeout(() => {}, 1);", "Can't use setTimeout in queries and mutations. "),
        ("setInterval(() => {}, 1);", "Can't use setInterval in queries and mutations. "),
        ("new AsyncResource('x');", "AsyncResource is not supported by this Tidelog version yet."),
        ("new WebAssembly.Module();", "WebAssembly.Module is not supported by this Tidelog version yet."),
    ],
)
def test_what_is_forbidden_or_unbuilt_says_so(statement: str, message: str) -> None:
    error = error_of(statement)
    assert isinstance(error, Thrown) and error.message.startswith(message)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("Convex.jsSyscall('what', {});", "Unknown JS syscall: what"),
        ("try { crypto.subtle.wrapKey(); } catch {}", "Not implemented: wrapKey for SubtleCrypto. "),
        ("try { performance.timing; } catch {}", "Not implemented: timing for Performance. "),
    ],
)
def test_some_refusals_cannot_be_caught(statement: str, message: str) -> None:
    error = error_of(statement)
    assert isinstance(error, Terminated) and error.code == "uncatchable" and error.message.startswith(message)


def test_the_environment_is_a_proxy_over_an_empty_object() -> None:
    source = """export const f = query(() => {
      let refused; try { process.env["not a name"]; } catch (e) { refused = e.message; }
      return [process.env.A, process.env.NONE ?? null, Object.keys(process.env), "A" in process.env, refused];
    });"""
    settled = Run(source, {"environment": {"A": "x"}}).call("f")
    assert isinstance(settled, Returned)
    *values, refused = json.loads(settled.json)
    assert values == ["x", None, [], False]
    assert refused.startswith("The environment variable name not a name is invalid. ")


def test_garbage_collection_cannot_be_observed() -> None:
    expression = """(() => { const r = new WeakRef({ a: 1 }); const f = new FinalizationRegistry(() => {});
      f.register({}); return [r.deref().a, f.unregister({})]; })()"""
    assert value_of(expression) == [1, False]


# --- text --------------------------------------------------------------------------------------------


def test_text_decoding_agrees_with_python_on_random_bytes() -> None:
    generator = random.Random(17)
    alphabet = b"a\x80\xbf\xc2\xc3\xa9\xe2\x82\xac\xed\xa0\xf0\x9f\x8c\x8a\xf4\x90\xff\xe0"
    samples = [bytes(generator.choices(alphabet, k=generator.randrange(12))) for _ in range(400)]
    arrays = json.dumps([list(sample) for sample in samples])
    decoded = value_of(f"{arrays}.map((bytes) => new TextDecoder().decode(new Uint8Array(bytes)))")
    assert isinstance(decoded, list)
    for sample, found in zip(samples, decoded, strict=True):
        assert found == sample.decode("utf-8", "replace"), f"{sample!r} of seed 17"


def test_text_decoding_of_split_input_agrees_with_whole_input() -> None:
    generator = random.Random(23)
    texts = ["".join(generator.choices("aé€\U0001f30a", k=8)) for _ in range(50)]
    arrays = json.dumps(
        [[list(text.encode()), generator.randrange(len(text.encode()) + 1)] for text in texts]
    )
    expression = f"""{arrays}.map(([bytes, cut]) => {{ const d = new TextDecoder(), b = new Uint8Array(bytes);
      return d.decode(b.subarray(0, cut), {{ stream: true }}) + d.decode(b.subarray(cut)); }})"""
    assert value_of(expression) == texts, "seed 23"


def test_text_encoding_round_trips_and_replaces_lone_surrogates() -> None:
    expression = """[[...new TextEncoder().encode("é\\ud800")],
      new TextEncoder().encodeInto("aé€", new Uint8Array(4)),
      new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 65])), atob(btoa("hello"))]"""
    assert value_of(expression) == [[195, 169, 239, 191, 189], {"read": 2, "written": 3}, "A", "hello"]
    error = error_of("new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255]));")
    assert isinstance(error, Thrown) and error.name == "TypeError"


# --- web classes -------------------------------------------------------------------------------------


def test_urls_that_are_none_are_refused_with_the_specified_text() -> None:
    error = error_of("new URL('x');")
    assert isinstance(error, Thrown)
    assert (error.name, error.message) == ("TypeError", "Invalid URL: 'x'")
    assert value_of("[URL.canParse('x'), URL.parse('x'), URL.parse('y', 'https://a.test').href]") == [
        False,
        None,
        "https://a.test/y",
    ]


@pytest.mark.parametrize("name", ["host", "username", "password"])
def test_some_parts_of_a_url_cannot_be_set(name: str) -> None:
    error = error_of(f"new URL('https://a.test').{name} = 'b';")
    assert isinstance(error, Terminated) and error.message.startswith(
        f"Not implemented: set {name} for URL. "
    )


def test_meeting_a_lazy_part_changes_nothing_a_call_can_see() -> None:
    """A part is evaluated by this call or by the module before it: randomness goes on as if it were not."""
    alone, touched = "[Math.random(), Math.random()]", "[Math.random(), (URL, Response, Math.random())]"
    assert value_of(alone) == value_of(touched)
    run = Run(
        "export const f = query(() => [typeof URL, typeof ReadableStream, typeof Blob, typeof CryptoKey]);"
    )
    assert run.call("f") == Returned(b'["function","function","function","function"]')
    assert run.host.observations == []


def test_urls_parse_resolve_and_edit() -> None:
    expression = """(() => {
      const u = new URL("../b?x=1&y=2#h", "https://User@Example.com:8080/a/c/d");
      u.searchParams.append("z", "ä b");
      const other = new URLSearchParams({ q: "1 2" }).toString();
      return [u.href, u.host, u.pathname, [...u.searchParams], other]; })()"""
    assert value_of(expression) == [
        "https://User@example.com:8080/a/b?x=1&y=2&z=%C3%A4+b#h",
        "example.com:8080",
        "/a/b",
        [["x", "1"], ["y", "2"], ["z", "ä b"]],
        "q=1+2",
    ]


def test_clones_move_nothing() -> None:
    error = error_of("structuredClone({}, { transfer: [] });")
    assert isinstance(error, Thrown) and error.message == "structuredClone with transfer not supported"


def test_an_aborted_signal_has_the_specified_reason() -> None:
    assert value_of("AbortSignal.abort().reason.message") == "The signal has been aborted"
