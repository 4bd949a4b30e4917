"""Headers, Blob, File, FormData, Request, Response: what Node.js does with them, the isolate does too."""

from __future__ import annotations

import json
import random

import pytest

from functions.isolate import Returned, Terminated, Thrown

from ..support.javascript import Run
from ..support.twin import assert_like_node, cases, in_isolate, in_node


@pytest.mark.parametrize("classes", ["headers", "blobs", "forms", "responses", "requests"])
def test_each_class_behaves_as_in_node(classes: str) -> None:
    assert_like_node(cases(classes))


# --- random cases ------------------------------------------------------------------------------------


def test_random_edits_of_headers_and_forms_end_as_in_node() -> None:
    generator = random.Random(31)
    snippets = []
    for _ in range(60):
        edits = []
        for _ in range(generator.randrange(1, 9)):
            name, value = (
                generator.choice(["a", "B", "b", "Set-Cookie"]),
                generator.choice(["1", "", " x ", "y, z"]),
            )
            method = generator.choice(["append", "append", "set", "delete"])
            edits.append(
                f"o.{method}({json.dumps(name)}{'' if method == 'delete' else ', ' + json.dumps(value)});"
            )
        kind = generator.choice(["Headers", "FormData"])
        snippets.append(f"const o = new {kind}(); {' '.join(edits)} return [[...o], o.get('b'), o.has('a')];")
    assert_like_node(snippets, "seed 31")


def test_random_slices_of_a_blob_are_those_of_node() -> None:
    generator = random.Random(37)
    bound = ["undefined", "-9", "-3", "-1", "0", "2", "5", "9", "'3'"]
    snippets = [
        f"return await new Blob(['012', '3456']).slice({generator.choice(bound)}, {generator.choice(bound)})"
        f".slice({generator.choice(bound)}).text();"
        for _ in range(80)
    ]
    assert_like_node(snippets, "seed 37")


def random_form(generator: random.Random) -> str:
    """Statements that fill the form `f`."""
    texts = [
        "",
        "plain",
        'a "quoted" name',
        "line\nbreak",
        "cr\rlf\r\n",
        "é€\U0001f30a",
        "--",
        "\r\n--x",
        "a; b=c",
    ]
    lines = []
    for _ in range(generator.randrange(5)):
        name, value, filename = (json.dumps(generator.choice(texts)) for _ in range(3))
        kind = generator.choice(["", "text/css", "application/json; x=y"])
        if generator.random() < 0.5:
            lines.append(f"f.append({name}, {value});")
        else:
            data = json.dumps(
                [generator.choice([13, 10, 45, 0, 255, 97]) for _ in range(generator.randrange(9))]
            )
            file = f"new Blob([new Uint8Array({data})], {{ type: {kind!r} }})"
            lines.append(f"f.append({name}, {file}, {filename});")
    return " ".join(lines)


SHOW = """
  const shown = [];
  for (const [name, value] of form) {
    shown.push(typeof value === "string" ? [name, value]
      : [name, value.name, value.type, [...new Uint8Array(await value.arrayBuffer())]]);
  }
  return shown;
"""


def reading(body: str, boundary_type: str) -> str:
    bytes_of = f"Uint8Array.from(atob({json.dumps(body)}), (c) => c.charCodeAt(0))"
    headers = json.dumps({"content-type": boundary_type})
    return f"const form = await new Response({bytes_of}, {{ headers: {headers} }}).formData(); {SHOW}"


def test_forms_written_by_either_are_read_alike_by_both() -> None:
    generator = random.Random(41)
    writers = [
        f"const f = new FormData(); {random_form(generator)} const r = new Response(f);"
        "const bytes = new Uint8Array(await r.arrayBuffer());"
        "return [r.headers.get('content-type'), btoa(String.fromCharCode(...bytes))];"
        for _ in range(40)
    ]
    written = [outcome["value"] for outcome in [*in_isolate(writers), *in_node(writers)]]
    readers = [reading(body, kind) for kind, body in written]  # type: ignore[misc]
    assert_like_node(readers, "seed 41")


def test_what_is_no_form_is_refused_as_in_node() -> None:
    kind = "multipart/form-data; boundary=b"
    part = 'Content-Disposition: form-data; name="a"\r\n\r\nx'
    bodies = [
        "", "--b--", f"--b\r\n{part}\r\n--b--\r\n", f"--b\r\n{part}\r\n--b", f"--b\r\n{part}",
        "--b\r\nx\r\n\r\ny\r\n--b--",
        f"--c\r\n{part}\r\n--c--", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
        '--b\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--b--',
    ]  # fmt: skip
    headers = json.dumps({"headers": {"content-type": kind}})
    read = [
        f"const form = await new Response({json.dumps(body)}, {headers}).formData(); {SHOW}"
        for body in bodies
    ]
    assert_like_node(read)


# --- what is particular to functions -----------------------------------------------------------------


def test_multipart_forms_are_read_in_actions_only() -> None:
    snippet = """const f = new FormData(); f.append("a", "b");
      return [...(await new Response(f).formData())];"""
    run = Run(
        f"export const q = query(async () => {{ {snippet} }}), a = action(async () => {{ {snippet} }});"
    )
    assert run.call("a", kind="action") == Returned(b'[["a","b"]]')
    settled = run.call("q")
    assert isinstance(settled, Thrown) and settled.message == (
        "Can't use formData() in queries and mutations. Please consider using an action. "
        "See https://docs.convex.dev/functions/actions for more details."
    )


def test_classes_work_in_queries_and_do_not_observe_clock_or_randomness() -> None:
    run = Run("""export const f = query(async () => {
      const r = new Response(new Blob(["x"]).stream(), { headers: { a: "b" } });
      const q = new Request("https://a.test", { method: "POST", body: r.body });
      return [await q.text(), r.bodyUsed];
    });""")
    assert run.call("f") == Returned(b'["x",true]')
    assert run.host.observations == []


def test_classes_can_be_extended_and_used_while_a_module_is_evaluated() -> None:
    run = Run("""class Reply extends Response { hello() { return this.status; } }
      const early = new Reply("early", { status: 202 });
      export const f = query(async () => [early.hello(), await early.text(), early instanceof Response]);""")
    for _ in range(2):
        assert run.call("f") == Returned(b'[202,"early",true]'), "each call finds the body unread"


@pytest.mark.parametrize("name", ["destination", "mode", "redirect", "duplex", "keepalive"])
def test_some_getters_of_a_request_end_the_call(name: str) -> None:
    settled = Run(f"export const f = query(() => new Request('https://a.test').{name});").call("f")
    assert isinstance(settled, Terminated) and settled.message == (
        f"Not implemented: {name} for Request. Consider calling an action defined in Node.js instead "
        "(https://docs.convex.dev/functions/actions)."
    )


def test_a_global_that_user_code_replaced_stays_replaced() -> None:
    run = Run("""globalThis.Headers = class Mine { get(name) { return name; } };
      export const f = query(() => [new Headers().get("own"), typeof Response, new Headers().get("own")]);""")
    assert run.call("f") == Returned(b'["own","function","own"]')
