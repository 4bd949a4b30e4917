"""Paths of an export, and what a path of an uploaded ZIP is."""

from __future__ import annotations

import pytest

from functions.transfer.zip_layout import (
    Entry,
    EntryKind,
    component_folder,
    documents_path,
    entry_of,
    file_path,
    schema_path,
)

FILE_ID = "kg2c9f9q7w7k0k8k3m5y6z7a8b9c0d1e"


@pytest.mark.parametrize("folder", ["", "backup/", "a/b c/"])
@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("messages/documents.jsonl", Entry(EntryKind.DOCUMENTS, "messages")),
        ("_tables/documents.jsonl", Entry(EntryKind.DOCUMENTS, "_tables")),
        ("_storage/documents.jsonl", Entry(EntryKind.DOCUMENTS, "_storage")),
        ("messages/generated_schema.jsonl", Entry(EntryKind.SCHEMA, "messages")),
        (f"_storage/{FILE_ID}", Entry(EntryKind.FILE, FILE_ID)),
        (f"_storage/{FILE_ID}.tar.gz", Entry(EntryKind.FILE, FILE_ID)),
        ("_components/a/messages/documents.jsonl", Entry(EntryKind.DOCUMENTS, "messages", "a")),
        ("_components/a/_components/b/x/documents.jsonl", Entry(EntryKind.DOCUMENTS, "x", "a/b")),
        ("_components/a/x/generated_schema.jsonl", Entry(EntryKind.SCHEMA, "x", "a")),
        (f"_components/a/_storage/{FILE_ID}.png", Entry(EntryKind.FILE, FILE_ID, "a")),
        ("_components/documents.jsonl", Entry(EntryKind.DOCUMENTS, "_components")),
        ("README.md", Entry(EntryKind.OTHER)),
        ("messages/", Entry(EntryKind.OTHER)),
        ("1st/documents.jsonl", Entry(EntryKind.OTHER)),
        ("messages/._documents.jsonl", Entry(EntryKind.OTHER)),
    ],
)
def test_a_path_is_known_below_any_folder(folder: str, path: str, entry: Entry) -> None:
    assert entry_of(folder + path) == entry


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [("image/png", ".png"), ("Text/Plain; charset=utf-8", ".txt"), ("x/unknown", ""), (None, ""), ("", "")],
)
def test_a_file_has_the_extension_of_its_type_and_is_found_again(
    content_type: str | None, extension: str
) -> None:
    path = file_path(FILE_ID, content_type)
    assert path == f"_storage/{FILE_ID}{extension}"
    assert entry_of(path) == Entry(EntryKind.FILE, FILE_ID)


def test_documents_without_a_folder_are_no_table() -> None:
    assert entry_of("documents.jsonl") == Entry(EntryKind.OTHER)


def test_what_is_written_is_what_is_read() -> None:
    for component in ("", "a", "a/b/c"):
        folder = component_folder(component)
        assert entry_of(folder + documents_path("t")) == Entry(EntryKind.DOCUMENTS, "t", component)
        assert entry_of(folder + schema_path("t")) == Entry(EntryKind.SCHEMA, "t", component)
