"""Timers of actions in the real engine; the host's clock is one of the test, so that nobody waits."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from functions.isolate import Returned, Settled, Terminated, Thrown

from ..support.driven_action import DrivenAction, VirtualTimers

HELPERS = """
const said = [];
const say = (...words) => void said.push(words.join(" "));
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
"""


def outcome_of(body: str) -> tuple[Settled, VirtualTimers, DrivenAction]:
    """What an action with this body comes to."""
    timers = VirtualTimers()
    source = f"{HELPERS} export const f = action(async () => {{ {body} }});"
    run = DrivenAction(
        source, {"host/sleep": timers.sleep}, {"host/cancelSleep": timers.cancel}, timers.pass_time
    )
    return asyncio.run(run.settle()), timers, run


def value_of(body: str) -> Any:
    settled, _, _ = outcome_of(body)
    assert isinstance(settled, Returned), settled
    return json.loads(settled.json)


def test_callbacks_run_when_they_are_due_and_equal_ones_in_the_order_of_creation() -> None:
    body = """
      setTimeout(say, 20, "c"); setTimeout(say, 10, "a", 1, null); setTimeout(say, 10, "b");
      setTimeout(say, 0, "0"); say("first"); await rest(15); say("between"); await rest(15); return said;"""
    assert value_of(body) == ["first", "0", "a 1 ", "b", "between", "c"]


def test_a_delay_is_read_as_the_standard_says() -> None:
    body = """
      const delays = [undefined, null, NaN, -5, "12", 1.9, 2 ** 31, { valueOf: () => 3 }];
      for (const ms of delays) setTimeout(() => {}, ms);
      await rest(50);"""
    _, timers, _ = outcome_of(body)
    assert timers.asked == [0, 0, 0, 0, 12, 1, 0, 3, 50]


def test_a_cleared_timer_does_not_run_and_is_not_waited_for() -> None:
    body = """
      const id = setTimeout(say, 10, "never"), other = setInterval(say, 5, "never either");
      clearInterval(id); clearTimeout(String(other)); clearTimeout(id);
      clearTimeout(undefined); clearTimeout(77);
      await rest(30); return [said, typeof id, other - id];"""
    assert value_of(body) == [[], "number", 1]
    assert outcome_of("clearTimeout(setTimeout(say, 9)); await rest(1); return 1;")[1].now_ms == 1


def test_an_interval_waits_anew_after_each_run_until_it_is_cleared() -> None:
    body = """
      const id = setInterval((word) => { say(word); if (said.length === 3) clearInterval(id); }, 10, "tick");
      await rest(100); return said;"""
    assert value_of(body) == ["tick"] * 3
    _, timers, _ = outcome_of("let n = 0; await new Promise((r) => setInterval(() => ++n === 4 && r(), 7));")
    assert timers.asked == [7, 7, 7, 7, 7], "and the action ends while the fifth is waiting"


def test_promises_settle_between_two_callbacks() -> None:
    body = """
      setTimeout(() => { say("one"); Promise.resolve().then(() => say("between")); }, 5);
      setTimeout(say, 5, "two"); await rest(6); return said;"""
    assert value_of(body) == ["one", "between", "two"]


def test_timers_keep_no_action_alive_and_are_not_told_as_left_behind() -> None:
    settled, timers, run = outcome_of("setTimeout(say, 1_000, 'late'); setInterval(say, 5); return 'done';")
    assert settled == Returned(b'"done"') and timers.now_ms == 0
    assert set(run.unawaited) == {"host/sleep"}


@pytest.mark.parametrize(
    "body",
    [
        "setTimeout(() => { throw new RangeError('from within'); }, 5);",
        "setInterval(() => { throw new RangeError('from within'); }, 5);",
        "setTimeout(async () => { throw new RangeError('from within'); }, 5);",
    ],
)
def test_what_a_callback_throws_ends_the_action(body: str) -> None:
    settled, _, _ = outcome_of(f"{body} await rest(1_000); return 'unharmed';")
    assert isinstance(settled, Thrown)
    assert (settled.name, settled.message) == ("RangeError", "from within")


@pytest.mark.parametrize("name", ["setTimeout", "setInterval"])
def test_code_in_a_string_is_refused_and_nobody_can_catch_it(name: str) -> None:
    settled, _, _ = outcome_of(f"try {{ {name}('say(1)', 5); }} catch {{}}")
    assert isinstance(settled, Terminated) and settled.code == "uncatchable"
    assert settled.message == (
        f"Not implemented: code string argument for {name} for Timers. Consider calling an action defined in "
        "Node.js instead (https://docs.convex.dev/functions/actions)."
    )
    assert value_of(f"try {{ {name}(7); }} catch (e) {{ return e.name; }}") == "TypeError"


def test_a_signal_with_a_timeout_is_aborted_when_it_is_due() -> None:
    body = """
      const signal = AbortSignal.timeout(10), all = AbortSignal.any([signal, new AbortController().signal]);
      signal.onabort = () => say("abort");
      await rest(9); say(signal.aborted); await rest(2);
      return [...said, signal.aborted, all.aborted, signal.reason.name, all.reason.message];"""
    late = "The operation was aborted due to timeout"
    assert value_of(body) == ["false", "abort", True, True, "TimeoutError", late]


# --- random timers ---------------------------------------------------------------------------------------

STEP_COUNT = 12


def test_random_timers_run_when_a_list_of_moments_says_so() -> None:
    """The twin goes through time millisecond by millisecond, and through all timers in each."""
    for seed in range(30):
        steps = _random_steps(random.Random(seed))
        body = f"""
          const ids = {{}};
          const steps = {json.dumps(steps)};
          for (const [at, what, name, ms] of steps) setTimeout(() => {{
            if (what === "clear") clearTimeout(ids[name]);
            else ids[name] = (what === "once" ? setTimeout : setInterval)(say, ms, name);
          }}, at);
          await rest(61); return said;"""
        assert value_of(body) == _twin(steps), f"seed {seed}: {steps}"


Step = tuple[int, str, str, int]


def _random_steps(generator: random.Random) -> list[Step]:
    """(when, what, name, delay): names are few, so that timers are cleared, cleared twice and replaced."""
    kinds = ["once", "once", "again", "clear", "clear"]
    return [
        (
            generator.randrange(40),
            generator.choice(kinds),
            generator.choice("abc"),
            generator.randrange(1, 15),
        )
        for _ in range(STEP_COUNT)
    ]


def _twin(steps: list[Step]) -> list[str]:
    said: list[str] = []
    timers: list[dict[str, Any]] = []
    latest: dict[str, dict[str, Any]] = {}
    pending = [
        {"due": at, "order": order, "step": step} for order, (step, at) in enumerate((s, s[0]) for s in steps)
    ]
    created = len(pending) + 1
    for now in range(61):
        while ready := [t for t in (*pending, *timers) if t["due"] == now]:
            first = min(ready, key=lambda each: each["order"])
            if "step" in first:
                pending.remove(first)
                _, what, name, delay = first["step"]
                if what != "clear":
                    latest[name] = {
                        "due": now + delay,
                        "order": created,
                        "name": name,
                        "what": what,
                        "ms": delay,
                    }
                    timers.append(latest[name])
                    created += 1
                elif latest.get(name) in timers:
                    timers.remove(latest[name])
                continue
            said.append(first["name"])
            timers.remove(first)
            if first["what"] == "again":
                first.update(due=now + first["ms"], order=created)
                timers.append(first)
                created += 1
    return said
