"""What is remembered of lost races, and when it is forgotten."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.hot_places import HotPlaces
from log.keys import Operand, encode_items
from log.limits import HOT_ARGUMENTS_BYTES_MAX, HOT_FUNCTIONS_MAX, HOT_PLACES_MAX, HOT_USES_UNWANTED_MAX
from log.read_set import Place, ReadSet

INDEX = b"index-one-------"


def at(number: int) -> Place:
    return INDEX, b"%04d" % number, b"%04d\x00" % number


def place_of(*items: Operand) -> Place:
    """The keys that begin with these values."""
    start = encode_items(items)
    return INDEX, start, start + b"\xff"


def guessed(hot: HotPlaces, arguments: Any, function: str = "f") -> frozenset[Place] | None:
    guess = hot.guessed(function, orjson.dumps(arguments))
    return guess.footprint.places if guess is not None else None


def reads_of(*places: Place) -> ReadSet:
    reads = ReadSet()
    for place in places:
        reads.add(*place)
    return reads


def watched(hot: HotPlaces, function: str = "f") -> list[Place]:
    found = hot.watched(function)
    return list(found.intervals()) if found is not None else []


def test_a_function_watches_where_its_own_calls_lost_and_no_other_function_does() -> None:
    hot = HotPlaces()
    assert hot.watched("f") is None
    hot.learn("f", [at(1)], reads_of(at(1), at(2)))
    assert watched(hot) == [at(1)] and hot.watched("g") is None


def test_a_call_asks_for_what_it_met_and_for_what_was_met_together_with_it() -> None:
    hot = HotPlaces()
    hot.learn("f", [at(1)], reads_of(at(1)))
    hot.learn("f", [at(2)], reads_of(at(2)))
    hot.learn("f", [at(9)], reads_of(at(9)))
    assert hot.expected("f", at(1)).places == {at(1)}
    hot.used("f", reads_of(at(1), at(2), at(5)), None, is_wanted=True)
    assert hot.expected("f", at(1)).places == {at(1), at(2)}
    assert hot.expected("f", at(9)).places == {at(9)}, "one place does not make another one hot"


def test_a_range_that_holds_a_hot_place_is_asked_for_whole() -> None:
    hot = HotPlaces()
    hot.learn("f", [at(3)], reads_of(at(3)))
    met = (INDEX, b"0001", None)
    assert hot.expected("f", met).places == {met, at(3)}


def test_a_place_whose_turn_nobody_else_wants_any_more_is_forgotten() -> None:
    hot = HotPlaces()
    hot.learn("f", [at(1), at(2)], reads_of(at(1), at(2)))
    for _ in range(HOT_USES_UNWANTED_MAX - 1):
        hot.used("f", reads_of(at(1)), None, is_wanted=False)
    hot.used("f", reads_of(at(1)), None, is_wanted=True)
    for _ in range(HOT_USES_UNWANTED_MAX):
        assert watched(hot) == [at(1), at(2)]
        hot.used("f", reads_of(at(1)), None, is_wanted=False)
    assert watched(hot) == [at(2)]
    assert hot.expected("f", at(2)).places == {at(2)}, "nor is it asked for as a companion"


def test_of_many_places_those_met_last_are_kept() -> None:
    hot = HotPlaces()
    for number in range(HOT_PLACES_MAX + 3):
        hot.learn("f", [at(number)], reads_of(at(number)))
        hot.used("f", reads_of(at(0)), None, is_wanted=True)
    kept = watched(hot)
    assert len(kept) == HOT_PLACES_MAX and at(0) in kept and at(1) not in kept


def test_of_many_functions_those_that_lost_last_are_kept() -> None:
    hot = HotPlaces()
    for number in range(HOT_FUNCTIONS_MAX + 1):
        hot.learn(f"f{number}", [at(1)], reads_of(at(1)))
    assert hot.watched("f0") is None and hot.watched("f1") is not None


@pytest.mark.parametrize("arguments", ["k17", {"id": "k17"}, {"a": [1, {"b": ["x", "k17"]}]}])
def test_a_call_that_names_a_hot_place_asks_for_it_wherever_its_arguments_hold_the_name(
    arguments: Any,
) -> None:
    hot = HotPlaces()
    assert guessed(hot, arguments) is None
    hot.learn("f", [place_of("k17", 1.0)], reads_of(place_of("k17", 1.0)))
    assert guessed(hot, arguments) == {place_of("k17", 1.0)}
    assert guessed(hot, arguments, "g") is None, "another function does not read there"
    assert hot.guessed("f", b"") is None, "a job whose arguments are not told"


@pytest.mark.parametrize("arguments", [{}, {"k17": "another"}, {"id": "k170"}, {"id": None}, True, 2, "1"])
def test_a_call_whose_arguments_name_no_hot_place_asks_for_nothing(arguments: Any) -> None:
    hot = HotPlaces()
    for place in (place_of("k17"), place_of(1.0)):
        hot.learn("f", [place], reads_of(place))
    assert guessed(hot, arguments) is None


def test_a_number_names_the_place_whose_keys_begin_with_it() -> None:
    hot = HotPlaces()
    hot.learn("f", [place_of(3.0, "x")], reads_of(place_of(3.0, "x")))
    assert guessed(hot, {"room": 3}) == guessed(hot, [3.0]) == {place_of(3.0, "x")}


def test_a_named_place_is_asked_for_together_with_what_was_met_there_and_with_all_others_named() -> None:
    hot = HotPlaces()
    giver, taker, total, other = place_of("k1"), place_of("k2"), at(7), place_of("k3")
    hot.learn("f", [giver, total], reads_of(giver, total))
    hot.learn("f", [taker], reads_of(taker))
    hot.learn("f", [other], reads_of(other))
    assert guessed(hot, {"from": "k1", "to": "k2"}) == {giver, taker, total}


def test_a_place_without_a_name_is_never_guessed() -> None:
    """The whole of an index, or one whose keys begin with neither a text nor a number."""
    hot = HotPlaces()
    for place in ((INDEX, b"", None), place_of(None, "k1"), place_of(b"k1"), place_of(True), at(1)):
        hot.learn("f", [place], reads_of(place))
    assert guessed(hot, ["k1", "", 1, "0001"]) is None


def test_a_forgotten_place_is_not_guessed_any_more() -> None:
    hot = HotPlaces()
    hot.learn("f", [place_of("k1")], reads_of(place_of("k1")))
    for _ in range(HOT_USES_UNWANTED_MAX):
        assert guessed(hot, "k1") == {place_of("k1")}
        hot.used("f", reads_of(place_of("k1")), None, is_wanted=False)
    assert guessed(hot, "k1") is None


def test_a_guess_that_is_wrong_again_and_again_is_not_made_any_more() -> None:
    hot = HotPlaces()
    hot.learn("f", [place_of("k1")], reads_of(place_of("k1")))
    for _ in range(HOT_USES_UNWANTED_MAX):
        guess = hot.guessed("f", b'"k1"')
        assert guess is not None
        hot.used("f", reads_of(at(5)), guess, is_wanted=True)
    assert guessed(hot, "k1") is None


def test_a_guess_that_is_right_is_kept_and_so_is_what_was_only_asked_for_with_it() -> None:
    hot = HotPlaces()
    named, companion = place_of("k1"), place_of("k2")
    hot.learn("f", [named, companion], reads_of(named, companion))
    for _ in range(2 * HOT_USES_UNWANTED_MAX):
        guess = hot.guessed("f", b'"k1"')
        assert guess is not None and guess.footprint.places == {named, companion}
        hot.used("f", reads_of(named), guess, is_wanted=True)


def test_deep_arguments_are_looked_through_like_others() -> None:
    """They are refused later, with the text of the specification."""
    hot = HotPlaces()
    hot.learn("f", [place_of("k1")], reads_of(place_of("k1")))
    guess = hot.guessed("f", b"[" * 1_000 + b'"k1"' + b"]" * 1_000)
    assert guess is not None and guess.named == {place_of("k1")}


def test_long_arguments_are_not_looked_through() -> None:
    hot = HotPlaces()
    hot.learn("f", [place_of("k1")], reads_of(place_of("k1")))
    assert guessed(hot, ["k1", "x" * (HOT_ARGUMENTS_BYTES_MAX - len('["k1",""]'))]) == {place_of("k1")}
    assert guessed(hot, ["k1", "x" * (HOT_ARGUMENTS_BYTES_MAX - len('["k1",""]') + 1)]) is None


def test_what_was_forgotten_meanwhile_is_nothing_to_whoever_guessed_it_or_met_it() -> None:
    hot = HotPlaces()
    hot.used("f", reads_of(at(1)), None, is_wanted=True)
    assert hot.expected("f", at(1)).places == {at(1)} and hot.watched("f") is None
    hot.learn("f", [place_of("k1")], reads_of(place_of("k1")))
    guess = hot.guessed("f", b'"k1"')
    for _ in range(HOT_USES_UNWANTED_MAX):
        hot.used("f", reads_of(place_of("k1")), None, is_wanted=False)
    assert hot.watched("f") is None, "nothing is left"
    hot.used("f", reads_of(at(5)), guess, is_wanted=True)
    assert guessed(hot, "k1") is None
