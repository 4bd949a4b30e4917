"""Events, abort signals, structuredClone: what Node.js does with the same code, the isolate does too."""

from __future__ import annotations

from functions.isolate import Thrown

from ..support.javascript import Run
from ..support.twin import assert_like_node, cases


def test_events_signals_and_clones_are_those_of_node() -> None:
    assert_like_node(cases("events"))


def test_a_signal_with_a_timeout_needs_timers() -> None:
    settled = Run("export const f = query(() => AbortSignal.timeout(5).aborted);").call("f")
    assert isinstance(settled, Thrown)
    assert settled.message.startswith("Can't use setTimeout in queries and mutations. ")
