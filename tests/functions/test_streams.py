"""Streams in an isolate: what Node.js does with the same code, the isolate does too."""

from __future__ import annotations

import json
import random

from functions.isolate import Returned

from ..support.javascript import Run
from ..support.twin import assert_like_node, cases, helpers

HELPERS = helpers("streams")


def test_streams_are_read_written_and_piped_as_in_node() -> None:
    assert_like_node(cases("streams"))


def test_text_cut_anywhere_is_converted_as_in_node() -> None:
    generator = random.Random(43)
    snippets = []
    for _ in range(40):
        text = "".join(generator.choices("aé€\U0001f30a", k=6))
        units = json.dumps(text.encode("utf-16-le").hex())
        cuts = json.dumps(sorted(generator.choices(range(13), k=3)))
        snippets.append(f"""{HELPERS}
          const units = {units}.match(/..../g).map((u) => parseInt(u.slice(2) + u.slice(0, 2), 16));
          const text = String.fromCharCode(...units);
          const [a, b, c] = {cuts};
          const chunks = [text.slice(0, a), text.slice(a, b), text.slice(b, c), text.slice(c)];
          const encoded = await all(from(...chunks).pipeThrough(new TextEncoderStream()));
          const bytes = encoded.flatMap((x) => [...x]), whole = Uint8Array.from(bytes);
          const parts = [whole.slice(0, a), whole.slice(a, b), whole.slice(b)];
          const back = await all(from(...parts).pipeThrough(new TextDecoderStream()));
          return [bytes, back.join(""), back.join("") === text];""")
    assert_like_node(snippets, "seed 43")


def test_a_stream_in_a_query_ends_in_the_same_call() -> None:
    run = Run(f"""export const f = query(async () => {{ {HELPERS}
      const pull = async (c) => {{ await null; c.enqueue(1); c.close(); }};
      return await all(new ReadableStream({{ pull }})); }});""")
    assert run.call("f") == Returned(b"[1]") == run.call("f")
    assert run.host.observations == []
