"""Node.js as the twin of the platform classes: the same piece of JavaScript run there and in an isolate."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from functions.isolate import Returned

from .javascript import TESTS, Run

GUARDED = """
const guarded = async (body) => {
  try {
    return { value: (await body()) ?? null };
  } catch (error) {
    return { error: error instanceof Error || error instanceof DOMException ? error.name : String(error) };
  }
};
"""
IN_NODE = """
const results = [];
for (const snippet of SNIPPETS) results.push(await guarded(snippet));
console.log(JSON.stringify(results));
"""

HELPERS_MARK = "// helpers\n"

Outcome = dict[str, Any]


def paragraphs(name: str) -> list[str]:
    text = (TESTS / "functions" / "twin" / f"{name}.js").read_text()
    return text.strip().split("\n\n")[1:]


def helpers(name: str) -> str:
    """What the cases of the file share."""
    return "".join(part for part in paragraphs(name) if part.startswith(HELPERS_MARK))


def cases(name: str) -> list[str]:
    """The snippets of `tests/functions/twin/NAME.js`, one a paragraph."""
    shared = helpers(name)
    return [f"{shared}\n{part}" for part in paragraphs(name) if not part.startswith(HELPERS_MARK)]


def in_node(snippets: Sequence[str]) -> list[Outcome]:
    """What each snippet (the body of an async function) gives in Node.js: {"value"} or {"error": name}."""
    functions = ",\n".join(f"async () => {{\n{snippet}\n}}" for snippet in snippets)
    source = f"{GUARDED}const SNIPPETS = [{functions}];{IN_NODE}"
    command = ["node", "--no-warnings", "--input-type=module", "-"]
    run = subprocess.run(command, input=source.encode(), check=True, capture_output=True, timeout=60)
    outcomes: list[Outcome] = json.loads(run.stdout)
    return outcomes


def in_isolate(snippets: Sequence[str], kind: str = "action") -> list[Outcome]:
    """The same of our engine; each snippet is a call of its own."""
    functions = [
        f"export const f{at} = {kind}(() => guarded(async () => {{\n{snippet}\n}}));"
        for at, snippet in enumerate(snippets)
    ]
    run = Run("\n".join([GUARDED, *functions]))
    outcomes = []
    for at, snippet in enumerate(snippets):
        settled = run.call(f"f{at}", kind=kind)
        assert isinstance(settled, Returned), f"{snippet}: {settled}"
        outcomes.append(json.loads(settled.json))
    return outcomes


def assert_like_node(snippets: Sequence[str], about: str = "", kind: str = "action") -> None:
    different = [
        f"{snippet}\nnode:    {expected}\nisolate: {found}"
        for snippet, expected, found in zip(
            snippets, in_node(snippets), in_isolate(snippets, kind), strict=True
        )
        if found != expected
    ]
    assert not different, "\n".join([about, *different])
