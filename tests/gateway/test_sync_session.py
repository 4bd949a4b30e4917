"""The pure session: rules of the protocol without socket or clock."""

from __future__ import annotations

import random
from collections import Counter
from typing import TypeVar

import orjson
import pytest

from gateway import sync_events as ev
from gateway.backend import FunctionError, FunctionOutcome
from gateway.frames import AddQuery, Connect, ModifyQuerySet, RemoveQuery, RunFunction
from gateway.results import QueryResult, query_result
from gateway.sync_session import SyncSession, log_request_id
from log import errors
from log.errors import BackendError
from log.identity import ADMIN, Identity
from log.limits import SOCKET_ACTIONS_RUNNING_MAX, SOCKET_MUTATIONS_QUEUED_MAX, SOCKET_TRANSITIONS_UNSENT_MAX

T = TypeVar("T")


def succeeded(ts: int, value: bytes = b"null") -> FunctionOutcome:
    return FunctionOutcome(value=value, error=None, log_lines=b"[]", ts=ts)


def result(ts: int, value: bytes = b"1") -> QueryResult:
    return query_result(succeeded(ts, value), "0" * 16, False, 0.0)


def modify(base: int, *modifications: AddQuery | RemoveQuery) -> ev.QuerySetModified:
    return ev.QuerySetModified(ModifyQuerySet(base, base + 1, modifications))


def add(query_id: int, component: str = "") -> AddQuery:
    return AddQuery(query_id, "m.js:list", b"[{}]", None, component)


def mutation(request_id: int) -> ev.FunctionRequested:
    return ev.FunctionRequested(RunFunction(True, request_id, "m.js:f", b"[]", ""))


def action(request_id: int) -> ev.FunctionRequested:
    return ev.FunctionRequested(RunFunction(False, request_id, "m.js:f", b"[]", ""))


def of_type(effects: list[ev.Effect], kind: type[T]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects: list[ev.Effect]) -> list[dict[str, object]]:
    return [orjson.loads(effect.data) for effect in of_type(effects, ev.Send)]


def test_a_mutation_owes_a_transition_at_its_ts_or_later() -> None:
    session = SyncSession()
    session.receive(mutation(0))
    effects = session.receive(ev.MutationFinished(succeeded(50)))
    response, compute = effects
    assert isinstance(response, ev.Send), "the response is before the Transition"
    assert isinstance(compute, ev.ComputeTransition) and compute.min_ts == 50
    (transition,) = of_type(session.receive(ev.TransitionComputed(50, ())), ev.SendTransition)
    assert transition.modifications == () and transition.end.ts == 50


def test_a_mutation_that_finishes_during_a_computation_gets_another_transition() -> None:
    session = SyncSession()
    session.receive(modify(0))
    session.receive(mutation(0))
    assert not of_type(session.receive(ev.MutationFinished(succeeded(60))), ev.ComputeTransition)
    effects = session.receive(ev.TransitionComputed(55, ()))
    (compute,) = of_type(effects, ev.ComputeTransition)
    assert compute.min_ts == 60


def test_a_failed_mutation_starts_the_next_and_carries_the_request_id_of_its_session() -> None:
    session = SyncSession()
    session.receive(ev.ConnectReceived(Connect("11111111-2222-4333-8444-555555555555", None, None), 0, 0))
    session.receive(mutation(0))
    session.receive(mutation(1))
    failed = FunctionOutcome(None, FunctionError("Uncaught Error: no\n"), b"[]", 0)
    effects = session.receive(ev.MutationFinished(failed))
    assert sent(effects)[0]["result"] == "[Request ID: 0f4fdff6690ec6de] Server Error\nUncaught Error: no\n"
    assert [start.message.request_id for start in of_type(effects, ev.StartFunction)] == [1]


def test_only_one_mutation_runs_at_a_time_and_in_order() -> None:
    session = SyncSession()
    started = [s for n in range(5) for s in of_type(session.receive(mutation(n)), ev.StartFunction)]
    for ts in range(1, 6):
        assert len(started) == ts
        started += of_type(session.receive(ev.MutationFinished(succeeded(ts))), ev.StartFunction)
    assert [start.message.request_id for start in started] == [0, 1, 2, 3, 4]


def test_a_mutation_runs_under_the_identity_of_its_arrival() -> None:
    session = SyncSession()
    session.receive(mutation(0))
    session.receive(mutation(1))
    session.receive(ev.AuthenticateReceived(0, ADMIN))
    session.receive(mutation(2))
    starts = [of_type(session.receive(ev.MutationFinished(succeeded(ts))), ev.StartFunction) for ts in (1, 2)]
    assert [start[0].identity.kind for start in starts] == ["unknown", "admin"]


def test_messages_during_a_computation_coalesce_into_the_next_transition() -> None:
    session = SyncSession()
    (compute,) = session.receive(modify(0, add(0)))
    assert isinstance(compute, ev.ComputeTransition)
    for version in range(1, 4):
        assert session.receive(modify(version, add(version))) == []
    first, second = session.receive(ev.TransitionComputed(10, ((0, result(10)),)))
    assert isinstance(first, ev.SendTransition) and first.end.query_set == 1
    assert isinstance(second, ev.ComputeTransition) and len(second.queries) == 4


def test_a_slow_reader_skips_states() -> None:
    session = SyncSession()
    session.receive(modify(0))
    for ts in range(10, 10 + SOCKET_TRANSITIONS_UNSENT_MAX):
        session.receive(ev.ResultInvalidated())
        last = session.receive(ev.TransitionComputed(ts, ()))
    assert not of_type(last, ev.ComputeTransition)
    for _ in range(100):
        assert session.receive(ev.ResultInvalidated()) == []
    assert len(of_type(session.receive(ev.TransitionWritten()), ev.ComputeTransition)) == 1


def test_an_unchanged_result_is_not_sent_again_and_the_replaced_one_is_released() -> None:
    session, old, new = SyncSession(), result(10), result(20)
    session.receive(modify(0, add(0)))
    session.receive(ev.TransitionComputed(10, ((0, old),)))
    session.receive(ev.ResultInvalidated())
    effects = session.receive(ev.TransitionComputed(20, ((0, new),)))
    assert of_type(effects, ev.SendTransition)[0].modifications == ()
    assert of_type(effects, ev.ReleaseResults) == [ev.ReleaseResults((old,))]


def test_a_result_overwritten_on_its_way_is_evaluated_again() -> None:
    session, stale = SyncSession(), result(10)
    stale.invalidated_at = 11
    session.receive(modify(0, add(0)))
    effects = session.receive(ev.TransitionComputed(10, ((0, stale),)))
    assert len(of_type(effects, ev.ComputeTransition)) == 1


USER = Identity("user", b'{"tokenIdentifier":"i|s"}')
EXPIRES_SECONDS = 1_000.0
EXPIRED = {
    "type": "AuthError",
    "error": "Convex token identity expired",
    "baseVersion": 1,
    "authUpdateAttempted": False,
}


def logged_in() -> SyncSession:
    """A session of a user whose token was confirmed and counts until EXPIRES_SECONDS."""
    session = SyncSession()
    session.receive(ev.AuthenticateReceived(0, USER, EXPIRES_SECONDS), 0)
    session.receive(ev.TransitionComputed(10, ()), 0)
    session.receive(ev.TransitionWritten(), 0)
    return session


@pytest.mark.parametrize("start", [mutation(0), action(0), modify(0, add(0)), ev.ResultInvalidated()])
def test_nothing_starts_under_an_identity_that_has_expired(start: ev.Event) -> None:
    assert not of_type(logged_in().receive(start, EXPIRES_SECONDS - 0.1), ev.Close)
    effects = logged_in().receive(start, EXPIRES_SECONDS)
    assert sent(effects) == [EXPIRED] and effects[-1] == ev.Close(None, "")
    assert not of_type(effects, ev.StartFunction) and not of_type(effects, ev.ComputeTransition)


def test_an_idle_socket_is_not_closed_when_its_identity_expires() -> None:
    session = logged_in()
    assert session.receive(ev.TransitionWritten(), EXPIRES_SECONDS + 1_000) == []
    assert not session.is_closed


@pytest.mark.parametrize("later", [USER, Identity(), ADMIN])
def test_a_later_identity_ends_when_it_does_and_not_when_the_one_before_did(later: Identity) -> None:
    session = logged_in()
    session.receive(ev.AuthenticateReceived(1, later), EXPIRES_SECONDS + 1)
    assert of_type(session.receive(mutation(0), EXPIRES_SECONDS + 2), ev.StartFunction)


def test_the_answer_of_an_action_is_told_even_when_its_user_expired_meanwhile() -> None:
    session = logged_in()
    session.receive(action(0), 0)
    effects = session.receive(ev.ActionFinished(0, succeeded(20)), EXPIRES_SECONDS)
    assert [message["type"] for message in sent(effects)] == ["ActionResponse", "AuthError"]
    assert effects[-1] == ev.Close(None, "")


def test_an_expired_identity_lets_go_of_the_results_it_showed() -> None:
    session, shown = logged_in(), result(20)
    session.receive(modify(0, add(0)), 0)
    session.receive(ev.TransitionComputed(20, ((0, shown),)), 0)
    effects = session.receive(ev.ResultInvalidated(), EXPIRES_SECONDS)
    assert of_type(effects, ev.ReleaseResults) == [ev.ReleaseResults((shown,))]


def test_a_new_identity_makes_every_query_be_looked_up_again() -> None:
    session = SyncSession()
    session.receive(modify(0, add(0)))
    session.receive(ev.TransitionComputed(10, ((0, result(10)),)))
    (compute,) = session.receive(ev.AuthenticateReceived(0, Identity("user", b"{}")))
    assert isinstance(compute, ev.ComputeTransition) and compute.queries[0].held is None
    (transition,) = of_type(session.receive(ev.TransitionComputed(10, ())), ev.SendTransition)
    assert (transition.start.identity, transition.end.identity) == (0, 1)


@pytest.mark.parametrize(
    ("verdict", "code", "says"),
    [(errors.bad_admin_key(), None, "AuthError"), (errors.commit_queue_full(), 1013, None)],
)
def test_a_refused_token_is_told_and_a_passing_trouble_only_closes(
    verdict: BackendError, code: int | None, says: str | None
) -> None:
    effects = SyncSession().receive(ev.AuthenticateReceived(0, verdict))
    assert [close.code for close in of_type(effects, ev.Close)] == [code]
    assert [message["type"] for message in sent(effects)] == ([says] if says else [])


def test_a_conflicting_mutation_closes_with_its_code_so_that_the_client_tries_again() -> None:
    session = SyncSession()
    session.receive(mutation(0))
    effects = session.receive(ev.MutationFinished(errors.mutation_conflict("t", None)))
    assert effects == [ev.Close(1013, "OptimisticConcurrencyControlFailure")]
    assert session.is_closed


def test_more_waiting_mutations_than_allowed_close_the_socket() -> None:
    session = SyncSession()
    for number in range(SOCKET_MUTATIONS_QUEUED_MAX + 1):  # one runs, the others wait
        session.receive(mutation(number))
        assert not session.is_closed, number
    effects = session.receive(mutation(SOCKET_MUTATIONS_QUEUED_MAX + 1))
    assert effects == [ev.Close(1013, "TooManyConcurrentMutations")]


def test_more_running_actions_than_allowed_close_the_socket() -> None:
    session = SyncSession()
    for number in range(SOCKET_ACTIONS_RUNNING_MAX):
        assert len(session.receive(action(number))) == 1
    effects = session.receive(action(SOCKET_ACTIONS_RUNNING_MAX))
    assert effects == [ev.Close(1013, "TooManyInflightActionsForSingleClient")]


def test_a_computation_that_may_succeed_later_is_tried_again_with_growing_pauses() -> None:
    session, pauses = SyncSession(), []
    session.receive(modify(0))
    for _ in range(4):
        (retry,) = session.receive(ev.ComputationFailed(errors.commit_queue_full()))
        assert isinstance(retry, ev.RetryLater)
        pauses.append(retry.seconds)
        assert session.receive(ev.ResultInvalidated()) == []
        assert len(of_type(session.receive(ev.RetryDue()), ev.ComputeTransition)) == 1
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_closed_session_releases_what_it_holds_and_what_comes_late() -> None:
    session, held, late = SyncSession(), result(10), result(11)
    session.receive(modify(0, add(0)))
    session.receive(ev.TransitionComputed(10, ((0, held),)))
    session.receive(ev.ResultInvalidated())
    assert session.receive(ev.SocketGone()) == [ev.ReleaseResults((held,))]
    assert session.receive(ev.TransitionComputed(11, ((0, late),))) == [ev.ReleaseResults((late,))]
    assert session.receive(mutation(3)) == []


def test_only_a_plain_admin_may_name_a_component() -> None:
    session = SyncSession()
    session.receive(ev.AuthenticateReceived(0, Identity("acting", b"{}")))
    assert of_type(session.receive(modify(0, add(0, "part"))), ev.Close)[0].code == 1011
    session = SyncSession()
    session.receive(ev.AuthenticateReceived(0, ADMIN))
    assert not of_type(session.receive(modify(0, add(0, "part"))), ev.Close)


def test_the_request_id_is_the_one_logs_are_filtered_by() -> None:
    assert log_request_id("11111111-2222-4333-8444-555555555555", 0) == "0f4fdff6690ec6de"


class World:
    """Plays shell and client with dice, checking the protocol's promises after each step."""

    def __init__(self, seed: int) -> None:
        self.rng, self.where = random.Random(seed), f"seed {seed}"
        self.session = SyncSession()
        self.ts, self.version, self.base, self.identity = 100, (0, 0, 0), 0, 0
        self.requests, self.owed_ts, self.running, self.unsent = 0, 0, 0, 0
        self.compute: ev.ComputeTransition | None = None
        self.ids: set[int] = set()
        self.holds: Counter[QueryResult] = Counter()

    def step(self) -> None:
        match self.rng.randrange(7):
            case 0:
                self.modify()
            case 1:
                self.requests += 1
                self.perform(self.session.receive(mutation(self.requests)))
            case 2 if self.running:
                self.ts += 1
                self.running -= 1
                self.owed_ts = self.ts
                self.perform(self.session.receive(ev.MutationFinished(succeeded(self.ts))))
            case 3 if self.compute is not None:
                self.answer()
            case 4 if self.unsent:
                self.unsent -= 1
                self.perform(self.session.receive(ev.TransitionWritten()))
            case 5:
                self.ts += 1
                self.perform(self.session.receive(ev.ResultInvalidated()))
            case _:
                identity = Identity("user", b"%d" % self.rng.randrange(3))
                self.perform(self.session.receive(ev.AuthenticateReceived(self.identity, identity)))
                self.identity += 1

    def modify(self) -> None:
        new_id = self.rng.randrange(6)
        change = RemoveQuery(new_id) if new_id in self.ids else add(new_id)
        self.ids ^= {new_id}
        self.base += 1
        self.perform(self.session.receive(modify(self.base - 1, change)))

    def answer(self) -> None:
        assert self.compute is not None
        compute, self.compute = self.compute, None
        changed = [q for q in compute.queries if q.held is None or self.rng.random() < 0.5]
        results = tuple((query.query_id, result(self.ts, b"%d" % self.rng.randrange(2))) for query in changed)
        self.holds.update(new for _, new in results)
        self.perform(self.session.receive(ev.TransitionComputed(self.ts, results)))

    def perform(self, effects: list[ev.Effect]) -> None:
        for effect in effects:
            match effect:
                case ev.SendTransition(start, end, modifications):
                    found = (start.query_set, start.identity, start.ts)
                    assert found == self.version, f"{self.where}: the chain tore"
                    self.version = (end.query_set, end.identity, end.ts)
                    ids = [orjson.loads(piece)["queryId"] for piece in modifications]
                    assert ids == sorted(set(ids)), f"{self.where}: ids {ids}"
                    self.unsent += 1
                    assert self.unsent <= SOCKET_TRANSITIONS_UNSENT_MAX, self.where
                case ev.ComputeTransition():
                    assert self.compute is None, f"{self.where}: two computations at once"
                    self.compute = effect
                case ev.StartFunction():
                    self.running += 1
                    assert self.running == 1, f"{self.where}: two mutations at once"
                case ev.ReleaseResults(results):
                    self.holds.subtract(results)
                    assert min(self.holds.values()) >= 0, f"{self.where}: released twice"
                case ev.Close():
                    raise AssertionError(f"{self.where}: closed by {effect}")

    def rest(self) -> None:
        """Let everything finish."""
        while self.compute is not None or self.unsent or self.running:
            if self.running:
                self.running -= 1
                self.ts += 1
                self.owed_ts = self.ts
                self.perform(self.session.receive(ev.MutationFinished(succeeded(self.ts))))
            if self.unsent:
                self.unsent -= 1
                self.perform(self.session.receive(ev.TransitionWritten()))
            if self.compute is not None:
                self.answer()


@pytest.mark.parametrize("seed", range(60))
def test_the_chain_never_tears_nothing_is_owed_at_rest_and_every_hold_is_released(seed: int) -> None:
    world = World(seed)
    for _ in range(300):
        world.step()
    world.rest()
    assert world.version[:2] == (world.base, world.identity), world.where
    assert world.version[2] >= world.owed_ts, f"{world.where}: a Transition is still owed"
    world.perform(world.session.receive(ev.SocketGone()))
    assert sum(world.holds.values()) == 0, f"{world.where}: results are held by nobody"
