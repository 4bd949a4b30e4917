"""The reference of JavaScript names exactly what the engine has."""

from __future__ import annotations

import json
import re

from functions.isolate import Returned

from ..support.javascript import Run
from ..support.tree import ROOT

PAGE = (ROOT / "docs" / "reference" / "javascript.md").read_text()
ECMASCRIPT = """
    AggregateError Array ArrayBuffer AsyncDisposableStack Atomics BigInt BigInt64Array BigUint64Array Boolean
    DataView Date DisposableStack Error EvalError Float16Array Float32Array Float64Array Function Infinity
    Int16Array Int32Array Int8Array InternalError Iterator JSON Map Math NaN Number Object Promise Proxy
    RangeError ReferenceError Reflect RegExp Set String SuppressedError Symbol SyntaxError TypeError URIError
    Uint16Array Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakSet decodeURI decodeURIComponent
    encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt undefined unescape
"""


def table_of(heading: str) -> dict[str, str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ?(.*?) ?\|$", section, re.M))


def value_of(expression: str, kind: str = "query") -> object:
    settled = Run(f"export const f = {kind}(async () => {expression});").call("f", kind=kind)
    assert isinstance(settled, Returned), settled
    return json.loads(settled.json)


def test_the_reference_names_exactly_the_globals_of_the_engine() -> None:
    found = value_of("Object.getOwnPropertyNames(globalThis)")
    assert isinstance(found, list)
    assert set(table_of("Globals")) == set(found) - set(ECMASCRIPT.split())


def test_what_the_reference_calls_absent_is_absent() -> None:
    names = re.findall(r"`(\w+)`", PAGE.split("Absent, as in")[1].split("\n\n")[0])
    assert len(names) > 10
    assert value_of(f"{json.dumps(names)}.filter((name) => typeof globalThis[name] !== 'undefined')") == []


def test_the_reference_has_every_algorithm_with_its_operations() -> None:
    """An operation an algorithm has complains about what is missing, one it has not about the algorithm."""
    table = table_of("crypto.subtle")
    probes = {
        "digest": "subtle.digest(name, null)",
        "deriveBits": "subtle.deriveBits(name, null, 8)",
        "importKey": "subtle.importKey('raw', null, name, false, [])",
        "generateKey": "subtle.generateKey(name, false, [])",
        **{
            verb: f"subtle.{verb}(name, null, null, null)"
            for verb in ("sign", "verify", "encrypt", "decrypt")
        },
    }
    calls = ", ".join(f"{verb}: () => {call}" for verb, call in probes.items())
    has = value_of(
        f"""{{ const {{ subtle }} = crypto, names = {json.dumps(list(table))}, found = {{}};
        for (const name of names) {{
          const probes = {{ {calls} }};
          found[name] = [];
          for (const verb of Object.keys(probes)) {{
            const error = await probes[verb]().then(() => null, (e) => e);
            if (error?.name !== "NotSupportedError") found[name].push(verb);
          }}
        }}
        return found; }}""",
        kind="action",
    )
    assert isinstance(has, dict)
    for name, operations in table.items():
        assert set(has[name]) == set(operations.split(", ")) - {"exportKey"}, name
