"""Memory goes back when nobody uses it, not when a garbage collector comes by.

The collector is off in these tests: it sees a few small objects where a sandbox holds up to 72 MiB.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from functions.isolate import ImageRequest, Returned, Terminated
from log.limits import IMAGES_HELD_MAX, MIB

from ..support.javascript import FUNCTION, Run, engine

CALLS = 12
CALLS_BYTES_MAX = 80 * MIB  # twelve sandboxes that were full would hold ten times as much
GREEDY = """
export const exhaust = query(() => { const held = []; for (;;) held.push(new Uint8Array(1 << 20).fill(1)); });
export const grow = query(() => new Uint8Array(40 << 20).fill(1).length);
"""
SMALL = ImageRequest({"m.js": FUNCTION.encode()}, ("m.js",))


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_call_that_ran_out_of_memory_gives_it_back() -> None:
    run = Run(GREEDY)
    before = resident_bytes()
    for _ in range(CALLS):
        settled = run.call("exhaust", user_seconds_max=5.0)
        assert isinstance(settled, Terminated) and settled.code == "memory"
    assert resident_bytes() - before < CALLS_BYTES_MAX


def test_a_call_that_used_much_memory_gives_it_back() -> None:
    run = Run(GREEDY)
    before = resident_bytes()
    for _ in range(CALLS):
        assert run.call("grow", user_seconds_max=5.0) == Returned(b"%d" % (40 << 20))
    assert resident_bytes() - before < CALLS_BYTES_MAX


def test_images_of_earlier_environments_are_forgotten() -> None:
    images = engine()._images
    for number in range(3 * IMAGES_HELD_MAX):
        newest = engine().build_image(replace(SMALL, environment={"ROUND": str(number)}))
        assert len(images._cache) <= IMAGES_HELD_MAX
    assert engine().build_image(replace(SMALL, environment={"ROUND": str(number)})) is newest


def test_building_images_leaves_no_sandbox_behind() -> None:
    for number in range(IMAGES_HELD_MAX):  # fills the cache
        engine().build_image(replace(SMALL, environment={"WARM": str(number)}))
    before = resident_bytes()
    for number in range(10 * CALLS):
        engine().build_image(replace(SMALL, environment={"SANDBOX": str(number)}))
    assert resident_bytes() - before < CALLS_BYTES_MAX
