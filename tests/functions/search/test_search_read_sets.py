"""A live search is hit exactly when a write shares a word with it, or changes what it returned.

The twin tokenises nothing and knows no keys: its documents are lists of words, and it was told what each is
searched by. 50 worlds of 40 commits and 50 live searches are 100,000 pairs of a search and a commit.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from actors.projections.subscriptions import Subscriptions, ValidThrough
from functions.system.tables import CATALOG_TABLETS
from functions.transaction import Transaction
from log.limits import SEARCH_QUERY_TOKENS_MAX
from log.read_set import ReadSet
from log.record import CallTrace, DocumentWrite
from log.write_log import WriteLog

from ...support.memory_database import MemoryDatabase
from .test_text_search import found, search_tree, searchable

WORLDS, COMMITS, SEARCHES = 50, 40, 50
# As it stands in a text, and what it is searched by; None: by nothing.
WORDS: dict[str, str | None] = {
    **{
        word: word
        for word in ("a", "an", "ant", "ants", "antsy", "be", "bee", "beetle", "0", "00", "x1", "x10")
    },
    **{word: word.lower() for word in ("Red", "REED", "Ärger", "ÄRGERLICH", "ΣΟΦΟΣ", "Ждать")},
    "straße": "straße",
    "中文": "中文",
    "中": "中",
    "\U00010400": "\U00010428",  # a capital letter beyond the first 65,536
    "y" * 31: "y" * 31,
    "y" * 32: None,
    "é" * 15: "é" * 15,
    "é" * 16: None,
    "--": None,
    "🦊": None,
}
WORDS["ΣΟΦΟΣ"] = "σοφοσ"  # by character: no final sigma
PREFIXES = ("b", "an", "ä", "ärg", "σ", "y" * 30, "é", "r", "zz", "中", "\U00010428")
CHANNELS = ("one", "two")
Search = tuple[tuple[str, ...], str | None]
"""What is asked for, each as in WORDS or a prefix, and a channel to filter by."""


@dataclass(frozen=True)
class Note:
    """`words` None: the field is no text. `created` and `revision` tell makings and writings apart."""

    words: tuple[str, ...] | None
    channel: str
    created: int
    revision: int


def tokens_of(words: tuple[str, ...] | None) -> list[str]:
    found = [WORDS.get(word, word) for word in words or ()]
    return [token for token in found if token is not None]


def has_a_word(note: Note | None, search: Search) -> bool:
    asked = tokens_of(search[0])[:SEARCH_QUERY_TOKENS_MAX]
    own = tokens_of(note.words) if note is not None else []
    return any(word in asked or word.startswith(asked[-1]) for word in own)


def answers(note: Note, search: Search) -> bool:
    return has_a_word(note, search) and search[1] in (None, note.channel)


def may_be_found_otherwise(before: Note | None, after: Note | None) -> bool:
    """Whether a search that does not return the document could tell them apart."""
    if before is None or after is None:
        return True
    return (before.words, before.channel, before.created) != (after.words, after.channel, after.created)


Changes = dict[str, tuple[Note | None, Note | None]]
"""By id, as it was and as it is."""


class World:
    """The database and its twin: notes by id, as they are."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.database: MemoryDatabase = searchable(seed)
        self.catalog = self.database.catalog
        self.notes: dict[str, Note] = {}
        self._revision = 0

    def begin(self) -> Transaction:
        """Under the catalog that was loaded once: nothing changes it."""
        database = self.database
        snapshot = database.view.snapshot(database.committer.published_ts)
        now_ms = database.now_ns / 1e6
        return Transaction(snapshot, self.catalog, now_ms=now_ms, random_bytes=database.random_bytes)

    def random_search(self) -> Search:
        rng = self.rng
        words = rng.choices(tuple(WORDS), k=rng.choice((0, 1, 1, 2, 3, 18)))
        if rng.random() < 0.5:
            words.append(rng.choice(PREFIXES))
        if not tokens_of(tuple(words)):
            words.append(rng.choice(PREFIXES))
        return tuple(words), rng.choice((None, None, *CHANNELS))

    def reads_of(self, search: Search) -> ReadSet:
        words, channel = search
        transaction = self.begin()
        equal = [("channel", channel)] if channel is not None else []
        ids = found(transaction, search_tree(" ".join(words), *equal))
        assert set(ids) == {name for name, note in self.notes.items() if answers(note, search)}
        return transaction.reads

    def commit(self) -> tuple[Changes, int, tuple[DocumentWrite, ...]]:
        """Some writes: what they changed, when, and what the commit says of it."""
        transaction = self.begin()
        present: list[str | None] = self.rng.sample(sorted(self.notes), len(self.notes))
        changes: Changes = {}
        for note_id in [*present, None, None, None][: self.rng.choice((1, 1, 1, 2, 3))]:
            name, after = self._write(transaction, note_id)
            changes[name] = self.notes.pop(name, None), after
            if after is not None:
                self.notes[name] = after
        writes = transaction.commit_body(bytes(16), CallTrace()).writes
        self.database.commit(transaction)
        return changes, self.database.committer.published_ts, writes

    def _write(self, transaction: Transaction, note_id: str | None) -> tuple[str, Note | None]:
        rng, table = self.rng, self.catalog.tables["notes"]
        self._revision += 1
        kind = rng.choice(("insert", "text", "text", "channel", "likes", "delete", "anew"))
        if kind == "insert" or note_id is None:
            note = self._random_note(self._random_words())
            return transaction.restore(table, fields_of(note)), note
        before = self.notes[note_id]
        if kind in ("delete", "anew"):
            transaction.delete(table, note_id)
        if kind == "delete":
            return note_id, None
        if kind == "anew":  # under the same id, made at another time
            note = self._random_note(before.words)
            transaction.restore(table, {**fields_of(note), "_id": note_id})
            return note_id, note
        words = self._random_words() if kind == "text" else before.words
        channel = rng.choice(CHANNELS) if kind == "channel" else before.channel
        note = Note(words, channel, before.created, self._revision)
        transaction.patch(table, note_id, fields_of(note))
        return note_id, note

    def _random_note(self, words: tuple[str, ...] | None) -> Note:
        return Note(words, self.rng.choice(CHANNELS), self._revision, self._revision)

    def _random_words(self) -> tuple[str, ...] | None:
        if self.rng.random() < 0.05:
            return None
        return tuple(self.rng.choices(tuple(WORDS), k=self.rng.choice((0, 1, 1, 2, 3))))


def fields_of(note: Note) -> dict[str, Any]:
    body = " ".join(note.words) if note.words is not None else None
    return {
        "_creationTime": float(note.created),
        "body": body,
        "channel": note.channel,
        "revision": float(note.revision),
    }


def changes_results(changes: Changes, search: Search) -> bool:
    """Whether the search returns another document, or one that is another now."""
    shown = [[note for note in pair if note and answers(note, search)] for pair in changes.values()]
    return any(len(found) == 1 or (len(found) == 2 and found[0] != found[1]) for found in shown)


def is_expected(changes: Changes, search: Search) -> bool:
    """Whether the search is to be hit: what it returned was written, or a text with one of its words."""
    return any(
        (before is not None and answers(before, search))
        or (
            may_be_found_otherwise(before, after)
            and any(has_a_word(note, search) for note in (before, after))
        )
        for before, after in changes.values()
    )


def play(seed: int) -> Counter[tuple[bool, bool]]:
    """(was it hit, did its results change) -> pairs."""
    world, pairs = World(seed), Counter[tuple[bool, bool]]()
    ours = Subscriptions(world.database.committer.published_ts, CATALOG_TABLETS)
    live: dict[int, tuple[Search, ReadSet]] = {}
    for step in range(COMMITS):
        for number in range(step * SEARCHES, (step + 1) * SEARCHES - len(live)):
            search = world.random_search()
            live[number] = search, (reads := world.reads_of(search))
            assert ours.register(number, reads, ours.processed_ts) == ValidThrough(ours.processed_ts)
        changes, ts, writes = world.commit()
        window = WriteLog(forgotten_ts=0)
        window.append(ts, "", writes, CATALOG_TABLETS)
        hit = {each.subscriber for each in ours.advance(ts, "", writes)}
        for number, (search, reads) in list(live.items()):
            why = f"seed {seed}, step {step}, search {search}, changes {changes}"
            expected, is_changed = is_expected(changes, search), changes_results(changes, search)
            assert expected or not is_changed, f"the twin contradicts itself: {why}"
            assert (number in hit) == expected, why
            assert (window.first_conflict(reads, ts - 1) is not None) == expected, why
            pairs[expected, is_changed] += 1
            if expected:
                del live[number]
    return pairs


@pytest.mark.parametrize("seed", range(WORLDS))
def test_a_search_is_hit_exactly_when_a_write_shares_a_word_or_changes_what_it_returned(seed: int) -> None:
    assert sum(play(seed).values()) == COMMITS * SEARCHES


def test_many_searches_are_hit_and_most_are_not() -> None:
    pairs = sum((play(seed) for seed in range(3)), Counter[tuple[bool, bool]]())
    assert pairs[True, True] > 500 and pairs[True, False] > 50 and pairs[False, False] > 2_000, pairs
