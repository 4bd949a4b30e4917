"""Which words a search reads and a write touches: tables of both, and every way to make a write."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from actors.projections.subscriptions import Subscriptions
from functions.catalog import Table, index_fields
from functions.indexes import BACKFILLED, SEARCH, VECTOR, Index
from functions.search import words
from functions.search.words import ANY_WORD, words_read, words_touched
from functions.system.component_rows import install
from functions.system.import_tables import activate, create_hidden, drop_table
from functions.system.tables import CATALOG_TABLETS
from functions.transaction import Transaction
from log.committer import CommitRequest
from log.intervals import point
from log.keys import decode_items, encode_item, string_prefix
from log.limits import SEARCH_QUERY_TOKENS_MAX
from log.record import CallTrace, DocumentWrite
from log.write_log import Conflict

from ...support.memory_database import MemoryDatabase
from ...support.tree import parsed, product_modules
from .test_text_search import found, search_tree, searchable

BY_BODY = Index(b"by_body---------", "by_body", (("body",), ("channel",)), kind=SEARCH)
BY_TITLE = Index(
    b"by_title--------", "by_title", (("deep", "title"),), BACKFILLED, is_staged=True, kind=SEARCH
)
BY_AT = Index(b"by_at-----------", "by_at", (("body",),), kind=VECTOR, dimensions=2)


# --- what a search reads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "exact", "prefix"),
    [
        (["fox"], [], "fox"),
        (["red", "fox"], ["red"], "fox"),
        (["red", "red", "fox"], ["red"], "fox"),
        (["fox", "red", "fox"], ["red"], "fox"),
        (["foxes", "fox"], ["foxes"], "fox"),
        ([f"w{n}" for n in range(20)], sorted(f"w{n}" for n in range(15)), "w15"),
    ],
)
def test_a_search_reads_its_words_and_all_that_begin_with_the_last_one(
    tokens: list[str], exact: list[str], prefix: str
) -> None:
    expected = [point(ANY_WORD), *(point(encode_item(token)) for token in exact), string_prefix(prefix)]
    assert list(words_read(tokens)) == expected
    assert len(expected) <= SEARCH_QUERY_TOKENS_MAX + 1


def test_a_search_records_its_words_and_the_documents_it_returned_and_no_more() -> None:
    database = searchable()
    ids = database.transact(
        lambda transaction: [transaction.insert("notes", {"body": body}) for body in ("fox", "foxes", "hare")]
    )
    transaction = database.begin()
    (notes,) = (table for table in transaction.catalog.user_tables() if table.name == "notes")
    assert set(found(transaction, search_tree("foxes fox"))) == set(ids[:2])
    words_of = transaction.reads.by_index[notes.kept_indexes[0].index_id]
    assert list(words_of) == [point(ANY_WORD), string_prefix("fox")], "what overlaps is one interval"
    assert list(transaction.reads.by_index[notes.by_id.index_id]) == sorted(
        point(encode_item(document_id)) for document_id in ids[:2]
    )


def test_no_word_is_the_one_that_stands_for_any() -> None:
    (text,) = decode_items(ANY_WORD)
    assert isinstance(text, str) and words.tokens_of(text) != [text]


# --- what a write touches -----------------------------------------------------------------------------

BASE = {"_creationTime": 1.0, "body": "The red fox", "channel": "c", "deep": {"title": "Über"}}
TOUCHED = [
    ("inserted", None, BASE, "fox red the", "über"),
    ("deleted", BASE, None, "fox red the", "über"),
    ("neither before nor after", None, None, "", ""),
    ("other text", BASE, {**BASE, "body": "red hare"}, "fox hare red the", ""),
    ("the same words in another order", BASE, {**BASE, "body": "fox, the red"}, "fox red the", ""),
    ("no text any more", BASE, {**BASE, "body": 7.0, "deep": None}, "fox red the", "über"),
    ("a text for the first time", {"_creationTime": 1.0}, BASE, "fox red the", "über"),
    ("another value to filter by", BASE, {**BASE, "channel": "d"}, "fox red the", ""),
    (
        "a value to filter by of another type",
        {**BASE, "channel": 1},
        {**BASE, "channel": 1.0},
        "fox red the",
        "",
    ),
    ("made anew at another time", BASE, {**BASE, "_creationTime": 2.0}, "fox red the", "über"),
    ("a field that no index knows", BASE, {**BASE, "likes": 3.0}, "", ""),
    ("nothing to be found by", None, {"_creationTime": 1.0, "body": " - ", "deep": {}}, "", ""),
    (
        "words that are too long",
        None,
        {"_creationTime": 1.0, "body": "a" * 31 + " " + "a" * 32},
        "a" * 31,
        "",
    ),
]


@pytest.mark.parametrize(
    ("name", "before", "after", "of_body", "of_title"), TOUCHED, ids=[case[0] for case in TOUCHED]
)
def test_a_write_touches_the_words_of_both_texts_if_an_index_knows_what_it_changed(
    name: str, before: Any, after: Any, of_body: str, of_title: str
) -> None:
    expected = [(BY_BODY, of_body), (BY_TITLE, of_title)]
    assert words_touched((BY_BODY, BY_AT, BY_TITLE), before, after, 100) == tuple(
        (index.index_id, tuple(encode_item(word) for word in text.split()))
        for index, text in expected
        if text
    ), name


def test_more_words_than_a_commit_names_touch_every_search_of_the_index() -> None:
    assert words_touched((BY_BODY,), None, BASE, 3) == words_touched((BY_BODY,), None, BASE, 100)
    assert words_touched((BY_BODY,), None, BASE, 2) == ((BY_BODY.index_id, (ANY_WORD,)),)
    mixed = words_touched((BY_BODY, BY_TITLE), None, BASE, 3)
    assert mixed[1] == (BY_TITLE.index_id, (ANY_WORD,)), "what one index took is gone for the next"


def test_a_commit_names_no_more_words_than_it_may_and_hits_what_it_does_not_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("log.limits.SEARCH_WORDS_WRITTEN_MAX", 5)
    database = searchable()
    transaction = database.begin()
    for body in ("a b c", "a b", "d", "", "e f"):
        transaction.insert("notes", {"body": body})
    named = sorted(keys for write in writes_of(transaction) for _, keys in write.words)
    assert named == sorted([texts("a b c"), texts("a b"), (ANY_WORD,), (ANY_WORD,)])
    search = database.begin()
    found(search, search_tree("nothing of it"))
    assert is_hit(search, transaction)


# --- every way to make a write ------------------------------------------------------------------------


def texts(text: str) -> tuple[bytes, ...]:
    return tuple(encode_item(word) for word in text.split())


def writes_of(transaction: Transaction) -> tuple[DocumentWrite, ...]:
    return transaction.commit_body(bytes(16), CallTrace()).writes


def words_of(transaction: Transaction) -> list[tuple[bytes, ...]]:
    return [words for write in writes_of(transaction) for _index_id, words in write.words]


def is_hit(search: Transaction, transaction: Transaction) -> bool:
    live = Subscriptions(0, CATALOG_TABLETS)
    live.register(1, search.reads, 0)
    return bool(live.advance(1, "a commit", writes_of(transaction)))


def notes_of(transaction: Transaction) -> Table:
    return transaction.catalog.tables["notes"]


def put_back(transaction: Transaction, note_id: str) -> None:
    note = transaction.all_documents(notes_of(transaction))[0]
    transaction.delete(notes_of(transaction), note_id)
    transaction.restore(notes_of(transaction), note)


def delete_and_restore(transaction: Transaction, note_id: str) -> None:
    transaction.delete(notes_of(transaction), note_id)
    transaction.restore(notes_of(transaction), {"_id": note_id, "_creationTime": 7.0, "body": "new"})


def write_twice(transaction: Transaction, note_id: str) -> None:
    transaction.patch(notes_of(transaction), note_id, {"body": "between"})
    transaction.patch(notes_of(transaction), note_id, {"body": "new"})


def insert_and_delete(transaction: Transaction, _note_id: str) -> None:
    transaction.delete(notes_of(transaction), transaction.insert("notes", {"body": "new"}))


def take_back(transaction: Transaction, note_id: str) -> None:
    savepoint = transaction.savepoint()
    transaction.patch(notes_of(transaction), note_id, {"body": "new"})
    transaction.roll_back(savepoint)


WAYS: dict[str, tuple[Callable[[Transaction, str], Any], list[str]]] = {
    "insert": (lambda it, _: it.insert("notes", {"body": "new"}), ["new"]),
    "restore, as imports do": (
        lambda it, _: it.restore(notes_of(it), {"_creationTime": 5.0, "body": "new"}),
        ["new"],
    ),
    "patch": (lambda it, old: it.patch(notes_of(it), old, {"body": "new"}), ["new old"]),
    "patch of another field": (lambda it, old: it.patch(notes_of(it), old, {"likes": 1.0}), []),
    "replace": (lambda it, old: it.replace(notes_of(it), old, {"body": "new"}), ["new old"]),
    "replace by no text": (lambda it, old: it.replace(notes_of(it), old, {}), ["old"]),
    "delete": (lambda it, old: it.delete(notes_of(it), old), ["old"]),
    "delete, and restore with another time": (delete_and_restore, ["new old"]),
    "delete, and put back as it was": (put_back, []),
    "write twice": (write_twice, ["new old"]),
    "insert and delete": (insert_and_delete, []),
    "write and roll back": (take_back, []),
    "a table without such an index": (lambda it, _: it.insert("others", {"body": "new"}), []),
}


@pytest.mark.parametrize("name", WAYS)
def test_whatever_a_transaction_does_its_commit_names_the_words_of_both_texts(name: str) -> None:
    way, expected = WAYS[name]
    database = searchable()
    database.insert("others", {"body": "old"})
    note_id = database.insert("notes", {"body": "old"})
    transaction = database.begin()
    way(transaction, note_id)
    assert words_of(transaction) == [texts(text) for text in expected]


def test_a_component_has_words_of_its_own() -> None:
    database = searchable()
    database.transact(lambda it: install(it, "part"))

    def add_table(transaction: Transaction) -> None:
        transaction.enter_component("part")
        table = transaction.create_table("notes")
        transaction.insert("_index", index_fields(table, Index(b"", "by_body", (("body",),), kind=SEARCH)))

    database.transact(add_table)
    writing = database.begin()
    writing.enter_component("part")
    writing.insert("notes", {"body": "fox"})
    of_part, of_app = database.begin(), database.begin()
    of_part.enter_component("part")
    for search in (of_part, of_app):
        found(search, search_tree("fox"))
    assert is_hit(of_part, writing) and not is_hit(of_app, writing)


def test_an_index_that_is_not_enabled_has_its_words_named_too() -> None:
    database = searchable()

    def add(transaction: Transaction) -> None:
        staged = Index(b"", "later", (("title",),), BACKFILLED, is_staged=True, kind=SEARCH)
        transaction.insert("_index", index_fields(notes_of(transaction), staged))

    database.transact(add)
    transaction = database.begin()
    transaction.insert("notes", {"body": "a", "title": "b"})
    assert words_of(transaction) == [texts("a"), texts("b")]


def test_the_commit_that_makes_an_import_visible_hits_every_search() -> None:
    database = searchable()
    database.insert("notes", {"body": "old"})
    table = database.transact(lambda it: create_hidden(it, "notes", notes_of(it).number))
    searches = [database.begin(), database.begin()]
    for search, text in zip(searches, ("old", "anything else"), strict=True):
        found(search, search_tree(text))
    filling = database.begin()
    filling.restore(filling.catalog.hidden_tables[table.tablet_id], {"body": "old"})
    assert not any(is_hit(search, filling) for search in searches), "nobody can see it yet"
    database.commit(filling)
    activating = database.begin()
    activate(activating, frozenset([table.tablet_id]), must_be_empty=False)
    assert all(is_hit(search, activating) for search in searches)


def test_the_commit_that_deletes_a_table_hits_every_search() -> None:
    database = searchable()
    search, deleting = database.begin(), database.begin()
    found(search, search_tree("fox"))
    drop_table(deleting, notes_of(deleting))
    assert is_hit(search, deleting)


def test_a_write_under_an_older_catalog_loses_to_the_push_that_adds_a_search_index() -> None:
    database = MemoryDatabase()
    database.insert("notes", {"body": "old"})
    writing = database.begin()
    writing.insert("notes", {"body": "fox"})

    def push(transaction: Transaction) -> None:
        index = Index(b"", "by_body", (("body",),), kind=SEARCH)
        transaction.insert("_index", index_fields(notes_of(transaction), index))

    database.transact(push)
    body = writing.commit_body(b"call", CallTrace())
    assert [write.words for write in body.writes] == [()], "it knows of no such index"
    outcome = database.committer.propose(CommitRequest(writing.reads, body, body.encode()), database.now_ns)
    assert isinstance(outcome, Conflict) and outcome.places == ()


def test_writes_are_made_in_one_place_which_names_their_words() -> None:
    makers = set()
    for path in product_modules():
        calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        if any(isinstance(func, ast.Name) and func.id == "DocumentWrite" for func in calls):
            makers.add(str(path))
    assert makers == {"functions/written.py"}
