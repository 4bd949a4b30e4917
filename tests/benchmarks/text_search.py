"""Text search: building an index, searching it, bringing it forward by a commit; run as a module.

    python -m tests.benchmarks.text_search [documents]

Words are drawn as in natural text: the n-th word is n times rarer than the first. The view is a real one.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from actors.index_view import IndexView
from actors.view_reader import ViewReader
from functions.indexes import SEARCH, Index
from functions.search.scoring import best_hits
from functions.snapshot import SnapshotReader
from functions.system.tables import CATALOG_TABLETS
from log import values
from log.ids import encode_id
from log.keys import encode_item
from log.record import DocumentWrite

WORDS, WORDS_PER_DOCUMENT, DOCUMENTS_PER_COMMIT = 50_000, 30, 1_000
SEARCHES, COMMITS = 200, 200
BY_ID, TABLET = b"by-id-----------", b"tablet----------"
INDEX = Index(b"by-body---------", "by_body", (("body",),), kind=SEARCH)
VOCABULARY = [f"w{number:x}" for number in range(1, WORDS + 1)]


class Words:
    """Draws words by their rank."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        total, self._weights = 0.0, []
        for rank in range(1, WORDS + 1):
            total += 1 / rank
            self._weights.append(total)

    def draw(self, count: int) -> list[str]:
        return self._rng.choices(VOCABULARY, cum_weights=self._weights, k=count)


def write(number: int, words: Words, *, is_new: bool) -> DocumentWrite:
    document_id = encode_id(10_001, b"%016d" % number)
    body = " ".join(words.draw(WORDS_PER_DOCUMENT))
    encoded = values.dumps({"_id": document_id, "_creationTime": float(number), "body": body})
    key = encode_item(document_id)
    keys = ((BY_ID, None if is_new else key, key),)
    return DocumentWrite(TABLET, document_id, 0, len(encoded), encoded, keys)


def search(snapshot: SnapshotReader, tokens: list[str]) -> tuple[float, int]:
    """(milliseconds, results) of one search."""
    started = time.process_time()
    with snapshot.kept.showing(snapshot, BY_ID, INDEX, {}) as index:
        hits = best_hits(index, tokens, [])
    return (time.process_time() - started) * 1e3, len(hits)


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(what: str, milliseconds: list[float]) -> None:
    ordered = sorted(milliseconds)
    p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(f"{what:<52} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms")


def main(documents: int) -> None:
    words = Words(1)
    with tempfile.TemporaryDirectory() as folder:
        view, reader, seq = IndexView(Path(folder), CATALOG_TABLETS), None, 0
        for start in range(0, documents, DOCUMENTS_PER_COMMIT):
            seq += 1
            numbers = range(start, min(documents, start + DOCUMENTS_PER_COMMIT))
            view.apply(seq, seq, 0, tuple(write(number, words, is_new=True) for number in numbers))
        reader, before = ViewReader(Path(folder)), megabytes()
        built, _ = search(reader.snapshot(seq), ["nowhere"])
        print(
            f"{documents} documents of {WORDS_PER_DOCUMENT} words: {built / 1e3:.2f} s to build,"
            f" {megabytes() - before:.0f} MB"
        )
        questions = [words.draw(3) for _ in range(SEARCHES)]
        say("three words as they are drawn", [search(reader.snapshot(seq), each)[0] for each in questions])
        rare = [random.Random(number).sample(VOCABULARY[1_000:], 3) for number in range(SEARCHES)]
        say("three rare words", [search(reader.snapshot(seq), each)[0] for each in rare])
        forward = []
        for number in range(COMMITS):
            seq += 1
            view.apply(seq, seq, 0, (write(number, words, is_new=False),))
            forward.append(search(reader.snapshot(seq), ["nowhere"])[0])
        say("brought forward by one rewritten document", forward)
        older = [search(reader.snapshot(seq - 20), ["nowhere"])[0] for _ in range(20)]
        say("a snapshot from 20 commits before", older)
        view.prune(seq)
        seq += 1
        view.apply(seq, seq, 0, (write(0, words, is_new=False),))
        view.prune(seq)
        print(f"compared after a pause: {search(reader.snapshot(seq), ['nowhere'])[0] / 1e3:.2f} s")
        reader.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
