"""Blobs are whole or absent, whenever the machine stops; equal ones are one; unused ones go, others stay."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from log import blob_store
from log.blob_store import BlobMissing, LocalBlobReads, LocalBlobStore, put_bytes, read_bytes
from log.errors import BackendError
from log.limits import BLOB_CHUNK_BYTES
from log.past_blobs import PastBlobs

from ..contracts.blob_store_contract import BlobStoreContract, key_of


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "data" / "files")


def blobs_on_disk(store: LocalBlobStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder.iterdir() if len(path.name) == 64}


def unfinished(store: LocalBlobStore) -> list[Path]:
    return list(store.folder.glob("unfinished-*"))


class TestLocalBlobStore(BlobStoreContract):
    """`store` is the fixture above."""


def test_nothing_unfinished_is_left_of_what_was_put(store: LocalBlobStore) -> None:
    put_bytes(store, b"finished")
    assert not unfinished(store)


def test_equal_content_is_one_file_that_is_not_written_again(store: LocalBlobStore) -> None:
    key = put_bytes(store, b"same").key
    before = (store.folder / key).stat()
    assert put_bytes(store, b"same").key == key
    assert (store.folder / key).stat().st_ino == before.st_ino and list(blobs_on_disk(store)) == [key]


def test_a_damaged_blob_is_replaced_when_its_content_comes_again(store: LocalBlobStore) -> None:
    key = put_bytes(store, b"whole").key
    (store.folder / key).write_bytes(b"who")
    put_bytes(store, b"whole")
    assert read_bytes(store, key) == b"whole"


def test_what_is_no_key_is_a_missing_blob_and_leads_to_no_other_file(store: LocalBlobStore) -> None:
    (store.folder.parent / "secret").write_bytes(b"x")
    for key in ("../secret", "0" * 64, "", "guard"):
        with pytest.raises(BlobMissing):
            store.open(key)


# --- failures ----------------------------------------------------------------------------------------


class MachineStopped(Exception):
    """Nothing runs after this; what is on the disk stays."""


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]] = {
    "fsync": lambda patch, stop: patch.setattr(blob_store.os, "fsync", stop),
    "utime": lambda patch, stop: patch.setattr(blob_store.os, "utime", stop),
    "rename": lambda patch, stop: patch.setattr(Path, "rename", stop),
    "folder sync": lambda patch, stop: patch.setattr(blob_store, "sync_folder", stop),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("was_there", [False, True])
def test_a_stop_at_any_step_leaves_the_whole_blob_or_none(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch, step: str, was_there: bool
) -> None:
    if was_there:
        put_bytes(store, b"content")

    def stop(*_args: Any, **_more: Any) -> None:
        raise MachineStopped

    with monkeypatch.context() as patch:
        STEPS[step](patch, stop)
        writer = store.begin()
        writer.write(b"content")
        if step == "rename" and was_there:
            writer.finish()  # there is nothing to rename
        else:
            with pytest.raises(MachineStopped):
                writer.finish()
        del writer  # its process is gone, and with it the lock
    found = blobs_on_disk(LocalBlobStore(store.folder))
    assert found in ({}, {key_of(b"content"): b"content"}) and (found or not was_there)
    assert not unfinished(store), "the next start removes what was left"


def test_the_disk_is_told_everything_before_the_blob_has_its_name(
    store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    originals = {"fsync": os.fsync, "rename": Path.rename}

    def fsync(descriptor: int) -> None:
        is_folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        happened.append("folder synced" if is_folder else f"{os.fstat(descriptor).st_size} bytes synced")
        originals["fsync"](descriptor)

    def rename(path: Path, target: Path) -> Path:
        happened.append("named")
        return originals["rename"](path, target)

    monkeypatch.setattr(blob_store.os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    put_bytes(store, b"12345")
    assert happened == ["5 bytes synced", "named", "folder synced"]


def test_a_discarded_blob_leaves_nothing_and_discarding_again_does_nothing(store: LocalBlobStore) -> None:
    with store.begin() as writer:
        writer.write(b"given up")
        assert len(unfinished(store)) == 1
    writer.discard()
    assert not unfinished(store) and not blobs_on_disk(store)


def test_a_nearly_full_disk_takes_no_files(store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_store, "BLOB_DISK_FREE_BYTES_MIN", 1 << 62)
    with pytest.raises(BackendError) as refused:
        store.begin()
    assert refused.value.code == "DiskNearlyFull"


# --- several processes ---------------------------------------------------------------------------------


def test_a_store_that_is_opened_leaves_alone_what_another_still_writes(store: LocalBlobStore) -> None:
    with store.begin() as writer:
        writer.write(b"slow ")
        other = LocalBlobStore(store.folder)
        assert len(unfinished(store)) == 1
        writer.write(b"upload")
        key = writer.finish().key
    assert read_bytes(other, key) == b"slow upload"


def _write_and_wait(folder: Path, started: Any) -> None:
    writer = LocalBlobStore(folder).begin()
    writer.write(b"x" * (2 * BLOB_CHUNK_BYTES))
    started.set()
    time.sleep(60)


def test_what_a_killed_process_wrote_is_removed_at_the_next_start(store: LocalBlobStore) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=_write_and_wait, args=(store.folder, started))
    process.start()
    assert started.wait(30)
    LocalBlobStore(store.folder)
    assert len(unfinished(store)) == 1, "it lives"
    process.kill()
    process.join()
    LocalBlobStore(store.folder)
    assert not unfinished(store)


# --- collection ----------------------------------------------------------------------------------------


def age(store: LocalBlobStore, key: str, seconds: float) -> None:
    os.utime(store.folder / key, (seconds, seconds))


def test_only_blobs_that_nobody_has_put_lately_are_deleted_as_unused(store: LocalBlobStore) -> None:
    old, new = put_bytes(store, b"old").key, put_bytes(store, b"new").key
    age(store, old, 1_000)
    assert list(store.keys_put_before(1_001)) == [old]
    assert [store.delete_unused(key, 1_001) for key in (old, new, old)] == [True, False, False]
    assert list(blobs_on_disk(store)) == [new]


def test_a_blob_put_again_after_it_was_looked_at_is_not_deleted(store: LocalBlobStore) -> None:
    key = put_bytes(store, b"again").key
    age(store, key, 1_000)
    assert list(store.keys_put_before(1_001)) == [key]
    put_bytes(store, b"again")
    assert not store.delete_unused(key, 1_001) and read_bytes(store, key) == b"again"


def test_an_opened_blob_is_read_to_its_end_though_it_was_deleted(store: LocalBlobStore) -> None:
    content = bytes(3 * BLOB_CHUNK_BYTES)
    key = put_bytes(store, content).key
    with contextlib.closing(store.open(key)) as opened:
        first = opened.next_piece()
        store.delete(key)
        rest = b"".join(iter(opened.next_piece, b""))
    assert first + rest == content and store.size_of(key) is None


def test_random_use_by_threads_agrees_with_a_dictionary(store: LocalBlobStore) -> None:
    """A small world: few contents, so that puts, collections and discards meet. What was put after the last
    collection is there; whatever is there is whole."""
    seed = 7
    contents = [bytes([n]) * (n * 30_000) for n in range(5)]
    failures: list[str] = []

    def work(number: int) -> None:
        rng = random.Random(seed * 100 + number)
        for _ in range(40):
            content = rng.choice(contents)
            key = key_of(content)
            match rng.choice(["put", "put", "collect", "discard"]):
                case "put":
                    put_bytes(store, content)
                    if store.size_of(key) != len(content):
                        failures.append(f"seed {seed}: {key} is gone though it was just put")
                case "collect":
                    store.delete_unused(key, time.time() - 3_600)
                case "discard":
                    with store.begin() as writer:
                        writer.write(content)

    for content in contents:
        age(store, put_bytes(store, content).key, 1_000)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    twin = {key_of(content): content for content in contents}
    assert not failures and not unfinished(store)
    for key, content in blobs_on_disk(store).items():
        assert content == twin[key], f"seed {seed}"


# --- the past ------------------------------------------------------------------------------------------


@pytest.fixture
def untouched(store: LocalBlobStore) -> Iterator[LocalBlobStore]:
    put_bytes(store, b"kept")
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    yield store
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before


def test_a_replay_reads_blobs_and_digests_new_ones_but_writes_nothing(untouched: LocalBlobStore) -> None:
    past = PastBlobs(LocalBlobReads(untouched.folder))
    assert read_bytes(past, key_of(b"kept")) == b"kept" and past.size_of(key_of(b"kept")) == 4
    blob = put_bytes(past, b"new")
    assert (blob.key, blob.size_bytes) == (key_of(b"new"), 3)
    past.delete(key_of(b"kept"))
    assert not past.delete_unused(key_of(b"kept"), time.time() + 1) and not list(past.keys_put_before(1e12))
