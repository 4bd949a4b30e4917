"""The JavaScript engine as built: one WebAssembly module and the parts of its prelude.

`build.py` makes both from the C glue, the pinned QuickJS source and pinned npm packages. This file only
knows where they are and in which order the prelude is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BUILD_FOLDER = Path(__file__).parent / "build"
PRELUDE_PARTS = ("core", "inspect", "analysis", "console", "web", "platform", "lazy", "locale", "seal")
"""Evaluated in this order into every base image."""
LAZY_PARTS = ("url", "streams", "fetch", "subtle", "intl", "timers", "network")
"""Evaluated by the call (or module) that first needs one; prelude/lazy.js says which globals do."""

QUERY_WRAPPERS = "wrappers"
"""A module, no part of the prelude: only the images of inline queries hold it."""


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """What a wheel ships of the engine."""

    wasm: bytes
    prelude: dict[str, bytes]
    lazy: dict[str, bytes]


def read_engine_files() -> EngineFiles:
    """The built engine; FileNotFoundError says how to build it in a source checkout."""
    wasm = BUILD_FOLDER / "engine.wasm"
    if not wasm.exists():
        raise FileNotFoundError(
            "the JavaScript engine is not built; in a source checkout run: "
            "pip install 'tidelog[engine]' && python -m functions.engine.build"
        )

    def parts(names: tuple[str, ...]) -> dict[str, bytes]:
        return {name: (BUILD_FOLDER / f"{name}.js").read_bytes() for name in names}

    return EngineFiles(wasm.read_bytes(), parts(PRELUDE_PARTS), parts(LAZY_PARTS))


def read_query_wrappers() -> bytes:
    """The source of the module that inline queries import `query` from."""
    return (BUILD_FOLDER / f"{QUERY_WRAPPERS}.js").read_bytes()
