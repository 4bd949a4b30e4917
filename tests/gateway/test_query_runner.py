"""Runs are shared, results are registered before they are handed out, and no write is missed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.backend import FunctionCall, FunctionOutcome
from gateway.core import GatewayCore
from gateway.query_runner import Answer
from gateway.results import QueryKey, QueryResult
from gateway.sync_events import ComputeTransition, QueryToEvaluate
from log import errors
from log.errors import BackendError
from log.identity import UNKNOWN, Identity
from log.limits import GATEWAY_QUERY_RUNS_MAX

from ..support.fake_backend import SETTINGS, FakeBackend

LIST = QueryKey("m.js:list", b"[{}]")


class Subscriber:
    """The least a session can be: one query, re-evaluated whenever its result ends."""

    def __init__(self, core: GatewayCore, key: QueryKey = LIST, identity: Identity = UNKNOWN) -> None:
        self.core, self.key, self.identity = core, key, identity
        self.held: QueryResult | None = None
        self.ts = 0
        self.failures: list[BackendError] = []
        self.computing = self.dirty = False

    def result_invalidated(self) -> None:
        self.dirty = True
        self.evaluate()

    def evaluate(self) -> None:
        if self.computing:
            return
        self.computing, self.dirty = True, False
        query = QueryToEvaluate(0, self.key, self.held)
        request = ComputeTransition(self.ts, self.identity, (query,))
        self.core.runner.evaluate(request, "npm-1.48.0", self, self.done, self.failed)

    def done(self, ts: int, results: tuple[tuple[int, Answer], ...]) -> None:
        self.computing, self.ts = False, ts
        for _, result in results:
            assert isinstance(result, QueryResult)
            replaced, self.held = self.held, result
            if replaced is not None:
                self.core.runner.release((replaced,), self)
            self.dirty = self.dirty or result.invalidated_at is not None
        if self.dirty:
            self.evaluate()

    def failed(self, error: BackendError) -> None:
        self.computing = False
        self.failures.append(error)


def run(scenario: Callable[[FakeBackend, GatewayCore], Awaitable[None]]) -> None:
    """Run a scenario; a defect reported by the gateway fails the test."""
    defects: list[BaseException] = []

    async def body() -> None:
        backend = FakeBackend()
        core = GatewayCore(backend, SETTINGS, defects.append)
        await scenario(backend, core)

    asyncio.run(body())
    assert defects == []


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_thousand_subscribers_cause_one_run_per_change() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        subscribers = [Subscriber(core) for _ in range(1_000)]
        for subscriber in subscribers:
            subscriber.evaluate()
        await settle()
        for number in range(3):
            assert backend.runs["m.js:list"] == number + 1
            ts = await backend.write(messages=[number])
            await settle()
            assert all(subscriber.ts == ts for subscriber in subscribers)
        assert len({id(subscriber.held) for subscriber in subscribers}) == 1
        assert core.runner.cache.registrations == 1

    run(scenario)


def test_the_gateway_tells_how_many_queries_are_watched_found_and_run() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        subscribers = [Subscriber(core) for _ in range(4)]
        for subscriber in subscribers[:3]:
            subscriber.evaluate()
        await settle()
        subscribers[3].evaluate()
        await settle()
        facts = core.facts()
        assert (facts["queries_watched"], facts["live_queries"], facts["query_runs"]) == (4, 1, 1)
        assert (facts["cache_hits"], facts["cache_misses"]) == (1, 3)
        await backend.write(messages=[1])
        await settle()
        assert core.facts()["queries_watched"] == 4 and core.facts()["query_runs"] == 2
        ((_key, tally),) = core.function_log.usage.tallies()
        assert (tally.calls, tally.invalidations) == (2, 1), "one result, however many watched it"
        for subscriber in subscribers:
            assert subscriber.held is not None
            core.runner.release((subscriber.held,), subscriber)
        assert core.facts()["queries_watched"] == 0
        await backend.write(messages=[2])
        await settle()
        ((_key, tally),) = core.function_log.usage.tallies()
        assert tally.invalidations == 1, "nobody watched"

    run(scenario)


def test_a_thousand_subscribers_of_a_failing_query_cause_one_run_per_change() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        await backend.write(broken=True)
        subscribers = [Subscriber(core, QueryKey("m.js:strict", b"[{}]")) for _ in range(1_000)]
        for subscriber in subscribers:
            subscriber.evaluate()
        await settle()
        assert backend.runs["m.js:strict"] == 1
        await backend.write(broken=False)
        await settle()
        assert backend.runs["m.js:strict"] == 2
        assert all(s.held is not None and s.held.outcome.value == b'"fine"' for s in subscribers)

    run(scenario)


def test_whoever_asks_for_what_is_audited_is_audited_and_a_live_query_once_per_change() -> None:
    audit, told = QueryKey("m.js:audit", b"[{}]"), list[int]()

    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        core.function_log.listeners.add(lambda execution: told.append(len(execution.audit_lines)))
        for asked in (1, 2):
            await core.runner.query(FunctionCall(audit.path, audit.args, UNKNOWN))
            assert core.runner.find_now(audit, UNKNOWN) is None
            assert told == [1] * asked and backend.registered == {}, "nobody holds it, so nobody waits for it"
        herd = [Subscriber(core, audit) for _ in range(10)]
        other = Subscriber(core, audit, Identity("user", b'{"subject":"ann"}'))
        for subscriber in (*herd, other):
            subscriber.evaluate()
        await settle()
        assert told == [1] * 4, "who asks at once shares a run, another identity does not"
        herd[0].evaluate()
        await backend.write(unrelated=1)
        await settle()
        assert told == [1] * 4, "what is held is not run again"
        await backend.write(messages=["new"])
        await settle()
        assert told == [1] * 6
        late = Subscriber(core, audit)
        late.evaluate()
        await settle()
        assert told == [1] * 7

    run(scenario)


def test_an_irrelevant_commit_causes_no_run() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        subscriber = Subscriber(core)
        subscriber.evaluate()
        await settle()
        for number in range(10):
            await backend.write(other=number)
        await settle()
        assert backend.runs["m.js:list"] == 1

    run(scenario)


def test_a_reason_is_kept_for_each_result_that_somebody_showed_and_a_write_ended() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        subscriber = Subscriber(core)
        subscriber.evaluate()
        await settle()
        unseen = FunctionCall("m.js:count", b"[{}]", UNKNOWN)
        await core.runner.query(unseen)  # kept in the cache, but nobody shows it
        ts = await backend.write(messages=["new"], counter=1.0)
        await settle()
        (rerun,) = core.runner.reruns.newest()
        assert rerun.query.path == "m.js:list"
        assert (rerun.invalidation.ts, rerun.invalidation.reason) == (ts, "written")
        assert core.runner.reruns.newest("m.js:count") == []

    run(scenario)


def test_users_never_see_each_others_result() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        who = QueryKey("m.js:who", b"[{}]")
        users = [Identity("user", b'{"n":%d}' % number) for number in range(20)]
        subscribers = [Subscriber(core, who, user) for user in users for _ in range(2)]
        for subscriber in subscribers:
            subscriber.evaluate()
        await settle()
        for subscriber in subscribers:
            assert subscriber.held is not None
            assert subscriber.held.outcome.value == subscriber.identity.attributes_json
        assert backend.runs["m.js:who"] == len(users)

    run(scenario)


def test_a_write_between_run_and_registration_is_not_missed() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        subscriber = Subscriber(core)
        reached, released = backend.hold("m.js:list")
        subscriber.evaluate()
        await reached.wait()
        ts = await backend.write(messages=["late"])
        released.set()
        await settle()
        assert subscriber.ts == ts
        assert subscriber.held is not None and subscriber.held.outcome.value == b'["late"]'

    run(scenario)


def test_a_query_after_an_answered_write_sees_it_though_the_stream_is_late() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        call = FunctionCall("m.js:list", b"[{}]", UNKNOWN)
        assert (await core.runner.query(call)).outcome.value == b"[]"
        await settle()
        backend.hold_stream()
        await backend.write(messages=["new"])
        assert core.runner.find_now(LIST, UNKNOWN) is None
        asked = asyncio.create_task(core.runner.query(call))
        await settle()
        assert not asked.done()
        await backend.release_stream()
        assert (await asked).outcome.value == b'["new"]'

    run(scenario)


def test_a_query_at_an_old_ts_shows_the_old_state() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        call, old_ts = FunctionCall("m.js:list", b"[{}]", UNKNOWN), backend.published_ts
        await backend.write(messages=["new"])
        assert (await core.runner.query(call)).outcome.value == b'["new"]'
        assert (await core.runner.query(call, old_ts)).outcome.value == b"[]"
        assert (await core.runner.query(call)).outcome.value == b'["new"]'

    run(scenario)


def test_a_refusal_reaches_everyone_who_waited_and_the_next_try_runs_again() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        subscribers = [Subscriber(core) for _ in range(3)]
        backend.fail_next(errors.commit_queue_full())
        for subscriber in subscribers:
            subscriber.evaluate()
        await settle()
        assert [len(subscriber.failures) for subscriber in subscribers] == [1, 1, 1]
        subscribers[0].evaluate()
        await settle()
        assert subscribers[0].held is not None

    run(scenario)


class CountedRuns:
    """How many queries of a backend run at the same time, and in which order they began."""

    def __init__(self, backend: FakeBackend) -> None:
        self._run_query, self.running, self.most, self.begun = backend.run_query, 0, 0, list[bytes]()
        backend.run_query = self.run_query  # type: ignore[method-assign]

    async def run_query(self, call: FunctionCall, *arguments: Any) -> FunctionOutcome:
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.append(call.args)
        try:
            await asyncio.sleep(0)
            return await self._run_query(call, *arguments)
        finally:
            self.running -= 1


def test_a_thousand_results_that_end_at_once_are_computed_anew_a_few_at_a_time_oldest_first() -> None:
    names = [f"c{number}" for number in range(1_000)]

    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        keys = [QueryKey("m.js:count", b'[{"name":"%s"}]' % name.encode()) for name in names]
        subscribers = [Subscriber(core, key) for key in keys]
        for subscriber in subscribers:
            subscriber.evaluate()
        await until_computed(subscribers)
        assert backend.runs["m.js:count"] == 1_000 == core.runner.cache.registrations
        counted = CountedRuns(backend)
        await backend.write(**dict.fromkeys(names, 7.0))  # one commit ends them all
        await until_computed(subscribers)
        assert counted.begun == [key.args for key in keys], "each once, in the order they were asked for"
        assert 1 < counted.most <= GATEWAY_QUERY_RUNS_MAX
        held = {subscriber.held.outcome.value for subscriber in subscribers if subscriber.held is not None}
        assert held == {b"7.0"} and core.runner.cache.registrations == 1_000

    run(scenario)


async def until_computed(subscribers: list[Subscriber]) -> None:
    while any(subscriber.computing for subscriber in subscribers):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(25))
def test_every_subscriber_ends_at_the_newest_state_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)

    async def scenario(backend: FakeBackend, core: GatewayCore) -> None:
        names = ("a", "b", "c")
        subscribers = [
            Subscriber(core, QueryKey("m.js:count", b'[{"name":"%s"}]' % rng.choice(names).encode()))
            for _ in range(12)
        ]
        written = dict.fromkeys(names, 0.0)
        for _ in range(120):
            match rng.randrange(5):
                case 0 | 1:
                    name = rng.choice(names)
                    written[name] += 1
                    await backend.write(**{name: written[name]})
                case 2:
                    rng.choice(subscribers).evaluate()
                case 3:
                    backend.hold_stream() if rng.random() < 0.5 else await backend.release_stream()
                case _:
                    await asyncio.sleep(0)
        await backend.release_stream()
        for subscriber in subscribers:
            subscriber.evaluate()
        await settle()
        for subscriber in subscribers:
            assert subscriber.held is not None, f"seed {seed}"
            name = subscriber.key.args.split(b'"')[3].decode()
            newest = b"%.1f" % written[name]
            assert subscriber.held.outcome.value == newest, f"seed {seed}: {name}"
        assert core.runner.cache.registrations == len(backend.registered), f"seed {seed}"

    run(scenario)
