"""Commit timestamps through the real CLI and the unmodified npm client (spec 03 2.9)."""

from __future__ import annotations

import pytest

from ..support.server import RunningServer
from .test_clients import observe, values_of

pytestmark = pytest.mark.usefixtures("app")


def test_a_mutation_is_told_the_timestamp_that_queries_find_in_what_it_wrote(server: RunningServer) -> None:
    seen = observe(server, "stamps", "first")
    assert values_of(seen, "an int64 above its snapshot") == [True]
    (told,) = values_of(seen, "told")
    assert told == {"readsBackAsPlaceholder": True, "newest": 2, "nested": [True, True]}
    assert sorted(values_of(seen, "found")[0]) == [[True, []], [True, [True]]]
    (refused,) = values_of(seen, "refused")
    assert "Field name $commitTs starts with '$', which is reserved." in refused
