"""`usePaginatedQuery` of convex/react with the real React, in Chromium, against a server (spec 01 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..support.debian import need_program
from ..support.server import NPM, RunningServer

PAGINATED = Path(__file__).with_name("paginated.mjs")

pytestmark = pytest.mark.usefixtures("app")

State = tuple[str, list[str]]


def observe(server: RunningServer, channel: str, scenario: str) -> dict[str, list[State]]:
    """What React committed in each step."""
    if not (NPM / "react-dom").is_dir():
        pytest.skip("react-dom is missing: `npm ci` in tests/npm (`make setup-dev` does it)")
    chromium = need_program("chromium", "chromium")
    steps: dict[str, Any] = dict(server.node(PAGINATED, chromium, channel, scenario))
    assert "page error" not in steps, steps["page error"]
    return {name: [(status, bodies) for status, bodies in states] for name, states in steps.items()}


def bodies(*numbers: int) -> list[str]:
    return [f"m{number}" for number in numbers]


def down(first: int, last: int, without: int = -1) -> list[str]:
    return bodies(*(number for number in range(first, last - 1, -1) if number != without))


def test_a_list_grows_page_by_page_and_by_what_others_write(server: RunningServer) -> None:
    steps = observe(server, "paginated-feed", "feed")
    assert steps["first"] == [("LoadingFirstPage", []), ("CanLoadMore", down(6, 4))]
    assert steps["more"] == [("LoadingMore", down(6, 4)), ("CanLoadMore", down(6, 1))]
    assert steps["inserted"] == [("CanLoadMore", down(7, 1))]
    assert steps["removed"] == [("CanLoadMore", down(7, 1, without=5))]
    assert steps["last"] == [
        ("LoadingMore", down(7, 1, without=5)),
        ("Exhausted", down(7, 0, without=5)),
    ]
    for number in range(8, 14):  # the first page grows beyond twice its size, and the hook splits it
        assert steps[f"m{number}"] == [("Exhausted", down(number, 0, without=5))]
    assert steps["other"] == [("LoadingFirstPage", []), ("Exhausted", ["other"])]
    assert steps["nothing"] == [("LoadingFirstPage", []), ("Exhausted", [])]


def test_cursors_that_no_longer_fit_let_the_list_begin_anew(server: RunningServer) -> None:
    steps = observe(server, "paginated-turn", "turn")
    assert steps["more"][-1] == ("CanLoadMore", bodies(0, 1, 2, 3))
    *_, anew, first = steps["turned"]
    assert (anew, first) == (("LoadingFirstPage", []), ("CanLoadMore", down(5, 4)))


def test_a_page_that_was_cut_is_split_before_it_is_shown_and_nothing_is_left_out(
    server: RunningServer,
) -> None:
    steps = observe(server, "paginated-cut", "cut")
    assert steps["first"] == [
        ("LoadingFirstPage", []),
        ("LoadingMore", []),
        ("CanLoadMore", bodies(*range(4))),
    ]
    assert steps["more"] == [("LoadingMore", bodies(*range(4))), ("CanLoadMore", bodies(*range(8)))]
    assert steps["last"] == [("LoadingMore", bodies(*range(8))), ("Exhausted", bodies(*range(10)))]
    assert steps["inserted"] == [("Exhausted", bodies(*range(11)))]
