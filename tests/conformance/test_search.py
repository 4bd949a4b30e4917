"""Full-text and vector search through the real CLI and the unmodified npm client (spec 03 2.2, 5.7)."""

from __future__ import annotations

import math

import pytest

from ..chaos.operator import tidelog
from ..support.server import RunningServer
from .test_clients import observe, values_of

pytestmark = pytest.mark.usefixtures("app")


def test_live_searches_see_writes_in_order_of_relevance(server: RunningServer) -> None:
    seen = observe(server, "search", "first-shelf")
    fowl = "fowl that is anything but red: red in no way at all"
    assert values_of(seen, "live") == [[fowl, "The red fox"]], (
        "the word that fewer notes have counts for more"
    )
    assert values_of(seen, "own writes") == [[0, 1, 0], [0, 1, 0]]
    (filled,) = values_of(seen, "filled")
    assert (filled[0], len(filled)) == ("filled 1199", 10)
    assert values_of(seen, "pages") == [[f"page {number}" for number in (5, 4, 3, 2, 1)]]
    (refused,) = values_of(seen, "refused")
    assert "contains an equality filter on body but that field isn't indexed for filtering" in refused


def test_a_live_search_runs_again_for_a_write_of_its_words_and_for_no_other(server: RunningServer) -> None:
    """`tidelog why` counts the runs: one for each reason, and none for the seven other writes."""
    assert values_of(observe(server, "words", "otter-shelf"), "found") == [["an otter"]]
    said = tidelog("why", "notes:find", "--count", 1_000, "--data", server.data.path).stdout.splitlines()
    ours = [line.split(": ", 1)[1] for line in said if '"shelf":"otter-shelf"' in line]
    assert [line.rsplit(" [", 1)[0] for line in ours] == [
        "notes:add wrote notes.by_body",
        "notes:remove wrote notes.by_id",  # of a note that was shown
        "notes:add wrote notes.by_body",
    ], said
    assert ' ["river"] at ' in ours[0] and ' ["otter"] at ' in ours[2]


def test_an_action_finds_the_nearest_vectors_of_the_kinds_it_asks_for(server: RunningServer) -> None:
    (found,) = values_of(seen := observe(server, "vectors"), "nearest")
    assert found["isOwn"]
    assert found["scores"] == pytest.approx([math.sqrt(0.5), -1.0])
    (refused,) = values_of(seen, "refused")
    assert "Expected a vector with dimensions 3, received 2." in refused
