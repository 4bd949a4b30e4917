"""Full-text search through the real CLI and the unmodified npm client (spec 03 2.2)."""

from __future__ import annotations

import pytest

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
