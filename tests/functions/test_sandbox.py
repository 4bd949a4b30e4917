"""What may not happen whatever a program does: leaks between calls, lost processes, growth, late answers."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from functions.engine.build import build
from functions.isolate import AnswerError, CallRequest, Returned, Terminated, Thrown
from functions.quickjs import Engine
from log.errors import BackendError, ErrorKind, bad_request

from ..support.javascript import NOW_MS, RecordingHost, Run, bundle, engine, image_request

OUT_OF_MEMORY = "JavaScript execution ran out of memory (maximum memory usage: 64 MB)"

HOSTILE = """
export const fine = query(() => "fine");
export const loop = query(() => { for (;;); });
export const stubbornLoop = query(() => { for (;;) { try { for (;;); } catch {} } });
export const regex = query(() => /^(a+)+$/.test("a".repeat(40) + "b"));
export const longStep = query(() => { const a = 3n ** 4000000n; return String(a * a * a).length; });
export const stuck = query(() => {
  const large = Array.from({ length: 1e5 }, (_, i) => ({ i }));
  for (;;) JSON.stringify(large);
});
export const recursion = query(() => { const f = () => f() + 1; try { f(); } catch (e) { return e.name; } });
export const uncaughtRecursion = query(() => { const f = () => f() + 1; return f(); });
export const allocate = query(() => { const kept = []; for (;;) kept.push(new Array(100000).fill(1)); });
export const gigabyte = query(() => new ArrayBuffer(1 << 30).byteLength);
export const swallowed = query(() => {
  try { new ArrayBuffer(1 << 30); } catch {}
  return "survived";
});
export const strings = query(() => { const kept = []; for (;;) kept.push("x".repeat(1e6)); });
export const nestedJson = query(() => { try { JSON.parse("[".repeat(1e6)); } catch (e) { return e.name; } });
export const promiseFlood = query(async () => { for (;;) await null; });
export const promiseTree = query(async () => {
  const grow = async () => { await null; return Promise.all([grow(), grow()]); };
  await grow();
});
"""


@pytest.fixture(scope="module")
def hostile() -> Run:
    return Run(HOSTILE)


def outcome_of(run: Run, name: str, **request: Any) -> object:
    settled = run.call(name, **request)
    assert run.call("fine") == Returned(b'"fine"'), f"the engine is unusable after {name}"
    return settled


@pytest.mark.parametrize("name", ["loop", "stubbornLoop", "regex", "promiseFlood", "longStep", "stuck"])
def test_endless_work_ends_with_the_timeout_text(hostile: Run, name: str) -> None:
    settled = outcome_of(hostile, name, user_seconds_max=0.1)
    assert settled == Terminated("Function execution timed out (maximum duration: 0.1s)", "timeout")


def test_the_default_time_limit_is_one_second(hostile: Run) -> None:
    settled = outcome_of(hostile, "loop")
    assert settled == Terminated("Function execution timed out (maximum duration: 1s)", "timeout")
    assert 0.0 < hostile.isolate.user_seconds() < 1.0, "the next call has a time of its own"


def test_an_isolate_survives_the_flag_and_is_dropped_after_a_trap(hostile: Run) -> None:
    hostile.call("loop", user_seconds_max=0.05)
    assert hostile.isolate._instance is not None
    hostile.call("stuck", user_seconds_max=0.5)  # long steps inside the engine poll no flag
    assert hostile.isolate._instance is None


@pytest.mark.parametrize("name", ["allocate", "gigabyte", "swallowed", "strings"])
def test_running_out_of_memory_cannot_be_caught(hostile: Run, name: str) -> None:
    assert outcome_of(hostile, name, user_seconds_max=10.0) == Terminated(OUT_OF_MEMORY, "memory")


def test_a_growing_tree_of_promises_ends_by_memory_or_time(hostile: Run) -> None:
    settled = outcome_of(hostile, "promiseTree")
    assert isinstance(settled, Terminated) and settled.code in ("memory", "timeout")


def test_recursion_is_a_catchable_range_error(hostile: Run) -> None:
    assert outcome_of(hostile, "recursion") == Returned(b'"RangeError"')
    uncaught = outcome_of(hostile, "uncaughtRecursion")
    assert isinstance(uncaught, Thrown) and uncaught.name == "RangeError"


def test_deeply_nested_json_is_a_catchable_error(hostile: Run) -> None:
    assert outcome_of(hostile, "nestedJson") in (Returned(b'"RangeError"'), Returned(b'"SyntaxError"'))


# --- fresh state -------------------------------------------------------------------------------------

LEAKY = """
let counter = 0;
const cache = new Map();
const zeros = new Uint8Array(100000);
export const touch = query((args) => {
  counter += 1; cache.set(counter, args); zeros[50000] += 1; globalThis.leak = (globalThis.leak ?? 0) + 1;
  Array.prototype.marked = (Array.prototype.marked ?? 0) + 1;
  return [counter, cache.size, zeros[50000], globalThis.leak, [].marked];
});
export const grow = query(() => new Array(400000).fill("x").map((x, i) => ({ i })).length);
"""


def test_nothing_a_call_did_is_visible_to_a_later_call() -> None:
    run = Run(LEAKY)
    for _ in range(3):
        assert run.call("touch") == Returned(b"[1,1,1,1,1]")
        assert run.call("grow", user_seconds_max=5.0) == Returned(b"400000")


def test_an_abandoned_call_leaves_nothing_behind() -> None:
    run = Run(
        LEAKY
        + 'export const wait = query(() => { counter = 99; return Convex.asyncSyscall("1.0/get", "{}"); });'
    )
    run.host.answers["1.0/get"] = None
    assert run.call("wait") is None
    assert run.call("touch") == Returned(b"[1,1,1,1,1]")


def test_memory_does_not_grow_over_a_thousand_restored_calls() -> None:
    run = Run(LEAKY)
    run.call("touch")
    assert run.isolate._instance is not None
    before = run.isolate._instance.size()
    for _ in range(1000):
        run.call("touch")
    assert run.isolate._instance.size() == before


def test_an_instance_that_grew_far_beyond_its_image_is_dropped() -> None:
    run = Run(LEAKY)
    run.call("touch")
    assert run.isolate._instance is not None
    run.call("grow", user_seconds_max=5.0)
    assert run.isolate._instance is None


def test_a_restored_instance_gives_what_a_fresh_one_gives() -> None:
    source = "export const f = query((a) => [a, Array.from({ length: 50 }, Math.random)]);"
    used, seeds = Run(source), random.Random(7)
    for round_ in range(20):
        request = {"seed": seeds.randbytes(32), "args": f"[{round_}]".encode()}
        assert used.call("f", **request) == Run(source).call("f", **request), f"round {round_} of seed 7"  # type: ignore[arg-type]


ALLOCATIONS = """
export const churn = query((args) => {
  let state = JSON.parse(args)[0];
  const next = (below) => {
    state = (state * 48271) % 2147483647;
    return Math.floor((state / 2147483647) * below);
  };
  const blocks = [];
  for (let step = 0; step < 4000; step++) {
    const place = next(200), size = next(3) ? next(300) : next(40000);
    const old = blocks[place];
    if (old && !old.every((byte) => byte === place)) return `${place} was overwritten before step ${step}`;
    blocks[place] = next(4) ? new Uint8Array(size).fill(place) : undefined;
  }
  return "intact";
});
"""


def test_the_heap_never_hands_out_the_same_bytes_twice() -> None:
    run = Run(ALLOCATIONS)
    for seed in (1, 2):
        settled = run.call("churn", args=f"[{seed}]".encode(), user_seconds_max=20.0)
        assert settled == Returned(b'"intact"'), f"seed {seed}"


# --- waiting and answering ---------------------------------------------------------------------------

WAITING = """
export const two = query(async () => {
  return await Promise.all([Convex.asyncSyscall("1.0/get", "1"), Convex.asyncSyscall("1.0/get", "2")]);
});
export const unawaited = mutation(async () => { Convex.asyncSyscall("1.0/insert", "{}"); return "done"; });
export const caught = query(async () => {
  try { await Convex.asyncSyscall("1.0/get", "1"); } catch (e) { return [e.message, e.data ?? null]; }
});
export const never = query(() => new Promise(() => {}));
export const rejected = query(async () => { Promise.reject(new TypeError("nobody looks")); return 1; });
export const handledLater = query(async () => {
  const p = Promise.reject(new Error("looked at in time")); await null; p.catch(() => {}); return 1;
});
export const synchronous = query(() => JSON.parse(Convex.syscall("1.0/queryStream", "{}")));
"""


@pytest.fixture
def waiting() -> Run:
    run = Run(WAITING)
    run.host.answers = {"1.0/get": None, "1.0/insert": None}
    return run


def test_calls_start_in_issue_order_and_settle_in_any(waiting: Run) -> None:
    assert waiting.call("two") is None
    assert [args for _, _, args in waiting.host.waiting] == [b"1", b"2"]
    (first, *_), (second, *_) = waiting.host.waiting
    assert waiting.deliver(second, b"B") is None
    assert waiting.deliver(first, b"A") == Returned(b'["A","B"]')


def test_an_answer_for_an_older_call_is_dropped(waiting: Run) -> None:
    waiting.call("two")
    old = [call_id for call_id, _, _ in waiting.host.waiting]
    waiting.host.waiting.clear()
    assert waiting.call("two") is None
    assert [waiting.deliver(call_id, b"old") for call_id in old] == [None, None]
    first, second = [call_id for call_id, _, _ in waiting.host.waiting]
    waiting.deliver(first, b"new")
    assert waiting.deliver(second, b"new") == Returned(b'["new","new"]')


def test_a_second_answer_for_the_same_call_is_dropped(waiting: Run) -> None:
    waiting.call("two")
    first, second = [call_id for call_id, _, _ in waiting.host.waiting]
    waiting.deliver(first, b"once")
    assert waiting.deliver(first, b"twice") is None
    assert waiting.deliver(second, b"x") == Returned(b'["once","x"]')


def test_a_call_is_settled_only_when_unawaited_writes_are_done(waiting: Run) -> None:
    assert waiting.call("unawaited", kind="mutation") is None
    assert waiting.deliver(waiting.host.waiting[0][0], b'{"_id":"a"}') == Returned(b'"done"')


def test_a_rejected_answer_carries_message_and_data(waiting: Run) -> None:
    waiting.call("caught")
    settled = waiting.deliver(waiting.host.waiting[0][0], AnswerError("no such thing", b'{"code":7}'))
    assert settled == Returned(b'["no such thing",{"code":7}]')


def test_an_answer_larger_than_the_exchange_area_arrives_whole(waiting: Run) -> None:
    waiting.call("two")
    large = b"x" * 3_000_000
    waiting.deliver(waiting.host.waiting[0][0], large)
    settled = waiting.deliver(waiting.host.waiting[1][0], b"y")
    assert settled == Returned(b'["' + large + b'","y"]')


def test_a_large_answer_given_at_once_arrives_whole() -> None:
    run = Run("export const f = query(async () => (await Convex.asyncSyscall('1.0/get', '')).length);")
    run.host.answers["1.0/get"] = b"x" * 5_000_000
    assert [run.call("f"), run.call("f")] == [Returned(b"5000000")] * 2


def test_a_promise_nobody_can_settle_is_reported(waiting: Run) -> None:
    assert waiting.call("never") == Terminated("Returned promise will never resolve", "never_resolves")


def test_an_unhandled_rejection_ends_the_call(waiting: Run) -> None:
    settled = waiting.call("rejected")
    assert isinstance(settled, Thrown) and (settled.name, settled.message) == ("TypeError", "nobody looks")
    assert waiting.call("handledLater") == Returned(b"1")


def test_an_action_ends_with_its_promise_and_names_what_it_left_running() -> None:
    run = Run("""export const f = action(async () => {
      Convex.asyncSyscall("1.0/actions/query", "");
      Convex.asyncSyscall("1.0/actions/mutation", "");
      return 1; });""")
    run.host.answers = {"1.0/actions/query": None, "1.0/actions/mutation": None}
    assert run.call("f", kind="action") == Returned(b"1")
    assert run.isolate.unawaited_operations() == ["1.0/actions/mutation", "1.0/actions/query"]
    assert run.deliver(run.host.waiting[0][0], b"late") is None


def test_system_call_names_that_are_no_strings_are_refused_or_converted() -> None:
    run = Run("""export const f = query(async () => {
      let refused; try { Convex.asyncSyscall(Symbol("s"), "{}"); } catch (e) { refused = e.name; }
      return [refused, await Convex.asyncSyscall("\\ud800", 5)]; });""")
    assert run.call("f") == Returned(b'["TypeError","null"]')


# --- errors of the host ------------------------------------------------------------------------------


def test_a_catchable_refusal_is_thrown_with_its_message(waiting: Run) -> None:
    waiting.host.answers["1.0/get"] = bad_request("Bad", "not like this")
    assert waiting.call("caught") == Returned(b'["not like this",null]')
    waiting.host.answers["1.0/queryStream"] = bad_request("Bad", "nor like that")
    settled = waiting.call("synchronous")
    assert isinstance(settled, Thrown) and settled.message == "nor like that"


@pytest.mark.parametrize(
    "failure", [BackendError(ErrorKind.OVERLOADED, "Busy", "later"), ValueError("a defect")]
)
@pytest.mark.parametrize("name", ["caught", "synchronous"])
def test_other_failures_of_the_host_end_the_call_uncaught(
    waiting: Run, name: str, failure: Exception
) -> None:
    waiting.host.answers = {"1.0/get": failure, "1.0/queryStream": failure}
    settled = waiting.call(name)
    assert isinstance(settled, Terminated) and (settled.code, settled.cause) == ("host", failure)


def test_actions_may_catch_every_refusal() -> None:
    run = Run(
        "export const f = action(() => Convex.asyncSyscall('1.0/actions/query', '').catch((e) => e.message));"
    )
    run.host.answers["1.0/actions/query"] = BackendError(ErrorKind.OVERLOADED, "Busy", "later")
    assert run.call("f", kind="action") == Returned(b'"later"')


def test_host_time_is_not_counted_as_user_time() -> None:
    run = Run("export const f = query(() => Convex.asyncSyscall('1.0/get', ''));")

    def busy(call_id: int, name: str, args: bytes) -> bytes:
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            pass
        return b"1"

    run.host.async_syscall = busy  # type: ignore[method-assign]
    assert run.call("f", user_seconds_max=0.1) == Returned(b'"1"')
    assert run.isolate.user_seconds() < 0.1


# --- several isolates --------------------------------------------------------------------------------


def test_an_isolate_may_run_inside_the_host_call_of_another() -> None:
    outer = Run(
        "export const f = query(async () => 'outer ' + (await Convex.asyncSyscall('1.0/runUdf', '')));"
    )
    inner = Run("export const g = query(() => 'inner');")

    def nested(call_id: int, name: str, args: bytes) -> bytes:
        settled = inner.call("g")
        assert isinstance(settled, Returned)
        return settled.json

    outer.host.async_syscall = nested  # type: ignore[method-assign]
    assert outer.call("f") == Returned(rb'"outer \"inner\""')


def test_killing_one_isolate_lets_another_thread_go_on() -> None:
    victim, other, results = Run(HOSTILE), Run(HOSTILE + COUNT), []
    thread = threading.Thread(target=lambda: results.append(victim.call("stuck", user_seconds_max=0.5)))
    thread.start()
    count = 0
    while thread.is_alive():
        assert other.call("count") == Returned(b"20000")
        count += 1
    assert count > 0 and isinstance(results[0], Terminated) and results[0].code == "timeout"


COUNT = "export const count = query(() => { let n = 0; while (n < 20000) n++; return n; });"


def test_building_twice_does_nothing() -> None:
    engine()
    assert build() is False


def test_the_public_api_gives_the_same_outcomes_as_the_raw_one(tmp_path: Path) -> None:
    slow, modules = Engine(tmp_path, raw_calls=False), bundle("chat")
    outcomes = []
    for each in (slow, engine()):
        image, isolate, host = each.build_image(image_request(modules)), each.isolate(), RecordingHost()
        for name, args in (("noop", b"[{}]"), ("one", b'[{"id":"a"}]'), ("one", b"[{}]"), ("missing", b"[]")):
            request = CallRequest("call", ("messages.js", name, "query"), args, now_ms=NOW_MS)
            outcomes.append((isolate.start(image, request, host), list(host.calls)))
    assert outcomes[:4] == outcomes[4:]
