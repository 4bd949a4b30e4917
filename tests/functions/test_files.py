"""Files as rows: what functions and the gateway may ask of them, over a database in memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.blob_collector import BlobCollector
from functions.outcome import LogLines
from functions.pages import CursorCodec
from functions.path import parse_function_path
from functions.syscalls import CallContext, Observed, answer_async, answer_sync
from functions.system.files import FileAccess
from log import limits
from log.blob_store import LocalBlobStore
from log.errors import BackendError, ErrorKind
from log.identity import UNKNOWN
from log.secrets import UploadToken, check_upload_token, issue_upload_token

from ..support.deployment import Deployment

SECRET = b"s" * 32
ORIGIN = "http://cloud.test"
HELLO = b"hello"
HELLO_HASH = hashlib.sha256(HELLO)
NEW_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Files:
    """System calls of one database, each in a function of its own."""

    def __init__(self, folder: Path) -> None:
        self.deployment = Deployment()
        self.database = self.deployment.database
        self.blobs = LocalBlobStore(folder)
        self.access = FileAccess(ORIGIN, SECRET, self.blobs)

    def call(self, name: str, udf_type: str = "Mutation", **args: Any) -> Any:
        def run(transaction: Any) -> Any:
            context = self.context(transaction, udf_type)
            return orjson.loads(answer_async(context, f"1.0/{name}", orjson.dumps(args)))

        return self.database.transact(run)

    def context(self, transaction: Any, udf_type: str) -> CallContext:
        return CallContext(
            transaction=transaction,
            path=parse_function_path("m:f"),
            component="",
            udf_type=udf_type,
            identity=UNKNOWN,
            codec=CursorCodec(SECRET),
            deployment={},
            logs=LogLines(),
            observed=Observed(),
            files=self.access,
        )

    def store(self, content: bytes = HELLO, content_type: str = "text/plain", **more: Any) -> str:
        blob = base64.b64encode(content).decode()
        found: str = self.call("storageStore", blob=blob, contentType=content_type, **more)
        return found

    def query_all(self) -> list[Any]:
        """`ctx.db.system.query("_storage").collect()`."""
        tree = {"source": {"type": "FullTableScan", "tableName": "_storage", "order": "asc"}}

        def run(transaction: Any) -> list[Any]:
            context = self.context(transaction, "Query")
            started = answer_sync(context, "1.0/queryStream", orjson.dumps({"query": tree}))
            asked, found = orjson.dumps(orjson.loads(started)), []
            while not (step := orjson.loads(answer_async(context, "1.0/queryStreamNext", asked)))["done"]:
                found.append(step["value"])
            return found

        return self.database.transact(run)

    def refusal(self, name: str, udf_type: str = "Mutation", **args: Any) -> BackendError:
        with pytest.raises(BackendError) as refused:
            self.call(name, udf_type, **args)
        return refused.value


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "files")


def uuid_of(files: Files, storage_id: str) -> str:
    return str(files.call("storageGetUrl", storageId=storage_id)).rsplit("/", 1)[1]


def test_addresses_of_files_begin_with_the_one_that_an_operator_set(files: Files) -> None:
    storage_id, other = files.store(), "https://other.example/deployment"
    body = {"requestDestination": "convexCloud", "url": other}
    for url, expected in ((other, other), (None, ORIGIN)):
        files.deployment.operate("update_canonical_url", {**body, "url": url})
        address = files.call("storageGetUrl", storageId=storage_id)
        assert address == f"{expected}/api/storage/{uuid_of(files, storage_id)}"
        assert files.call("storageGenerateUploadUrl").startswith(f"{expected}/api/storage/upload?token=")


# --- what functions see --------------------------------------------------------------------------------


def test_a_stored_file_is_read_back_with_its_type(files: Files) -> None:
    storage_id = files.store(b"\x00\xff")
    answer = files.call("storageGet", storageId=storage_id)
    assert answer == {"blob": base64.b64encode(b"\x00\xff").decode(), "contentType": "text/plain"}


def test_a_blob_without_type_is_stored_with_none(files: Files) -> None:
    storage_id = files.store(content_type="")
    assert files.call("storageGet", storageId=storage_id)["contentType"] is None


def test_the_bytes_are_durable_before_the_call_is_answered(files: Files) -> None:
    files.store()
    assert files.blobs.size_of(HELLO_HASH.hexdigest()) == len(HELLO)


def test_a_digest_that_was_announced_must_be_that_of_the_bytes(files: Files) -> None:
    right = base64.b64encode(HELLO_HASH.digest()).decode()
    assert files.store(sha256=right)
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    blob = base64.b64encode(HELLO).decode()
    assert files.refusal("storageStore", blob=blob, contentType="", sha256=wrong).code == "Sha256Mismatch"


def test_a_url_holds_a_random_uuid_and_no_id(files: Files) -> None:
    ids = [files.store() for _ in range(2)]
    urls = [files.call("storageGetUrl", "Query", storageId=each) for each in ids]
    assert len({*urls}) == 2, "equal bytes are two files"
    for url in urls:
        assert url.startswith(f"{ORIGIN}/api/storage/") and NEW_UUID.fullmatch(url.rsplit("/", 1)[1])


def test_a_file_is_found_by_its_id_and_by_its_uuid_in_either_case(files: Files) -> None:
    storage_id = files.store()
    name = uuid_of(files, storage_id)
    answers = [files.call("storageGetUrl", storageId=each) for each in (storage_id, name, name.upper())]
    assert answers[0] is not None and len({*answers}) == 1


def test_metadata_has_the_uuid_and_the_digest_in_hexadecimal(files: Files) -> None:
    storage_id = files.store()
    assert files.call("storageGetMetadata", "Query", storageId=storage_id) == {
        "storageId": uuid_of(files, storage_id),
        "sha256": HELLO_HASH.hexdigest(),
        "size": 5.0,
        "contentType": "text/plain",
    }


def test_the_system_table_shows_the_digest_in_base64_and_nothing_private(files: Files) -> None:
    storage_id = files.store(content_type="")
    (row,) = files.query_all()
    assert row.pop("_creationTime") > 0
    sha256 = base64.b64encode(HELLO_HASH.digest()).decode()
    assert row == {"_id": storage_id, "sha256": sha256, "size": 5.0, "contentType": None}
    got = files.call("get", "Query", id=storage_id, table="_storage", isSystem=True)
    assert {name: got[name] for name in row} == row


def test_nobody_writes_the_system_table(files: Files) -> None:
    storage_id = files.store()
    assert files.refusal("remove", id=storage_id).code == "ReadOnlyTable"


def test_a_deleted_file_is_null_everywhere_and_cannot_be_deleted_again(files: Files) -> None:
    storage_id = files.store()
    name = uuid_of(files, storage_id)
    assert files.call("storageDelete", storageId=storage_id) is None
    for each in (storage_id, name):
        for call in ("storageGetUrl", "storageGetMetadata", "storageGet"):
            assert files.call(call, storageId=each) is None
        refused = files.refusal("storageDelete", storageId=each)
        assert refused.message == f"storage id {each} not found" and refused.kind is ErrorKind.BAD_REQUEST
    assert files.query_all() == []


@pytest.mark.parametrize("name", ["GetUrl", "GetMetadata", "Delete", "Get"])
def test_what_is_no_storage_id_is_refused_by_the_name_of_the_method(files: Files, name: str) -> None:
    method = f"storage.{name[0].lower()}{name[1:]}"
    for wrong in ("x", "", str(uuid.uuid4()) + "0"):
        text = files.refusal(f"storage{name}", storageId=wrong).message
        assert text == (
            f'Invalid argument `storageId` for `{method}`: Invalid storage ID: "{wrong}". '
            "Storage ID should be an Id of '_storage' table, or a UUID string."
        )
    for wrong_type in (None, 5, {}):
        assert files.refusal(f"storage{name}", storageId=wrong_type).code == "InvalidArgument"


def test_the_id_of_another_table_is_refused(files: Files) -> None:
    other = files.database.insert("messages", {"body": "x"})
    text = files.refusal("storageGetUrl", storageId=other).message
    assert text == "Invalid storage ID. Storage ID cannot be an ID on any table other than '_storage'."


@pytest.mark.parametrize("name", ["GenerateUploadUrl", "Delete", "Store", "Get"])
def test_a_query_has_only_the_calls_that_look(files: Files, name: str) -> None:
    refused = files.refusal(f"storage{name}", "Query", storageId=str(uuid.uuid4()))
    assert (refused.code, refused.message) == (
        "UnknownAsyncOperation",
        f"Unknown async operation 1.0/storage{name}",
    )


def test_what_a_mutation_stores_is_bounded(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.storage_calls.MUTATION_FILE_BYTES_MAX", 5)
    storage_id = files.store(b"12345")
    assert files.call("storageGet", storageId=storage_id)["blob"]
    blob = base64.b64encode(b"123456").decode()
    assert files.refusal("storageStore", blob=blob, contentType="").code == "FileTooLarge"
    monkeypatch.setattr("functions.storage_calls.MUTATION_FILE_BYTES_MAX", 4)
    assert files.refusal("storageGet", storageId=storage_id).code == "FileTooLarge"


def test_bytes_that_were_taken_away_are_told_from_a_deleted_file(files: Files) -> None:
    storage_id = files.store()
    files.blobs.delete(HELLO_HASH.hexdigest())
    assert files.refusal("storageGet", storageId=storage_id).code == "FileBytesMissing"


# --- upload tokens -------------------------------------------------------------------------------------


def test_an_upload_url_is_good_for_an_hour_and_equal_for_equal_times(files: Files) -> None:
    now_seconds = files.database.now_ns // 10**9
    urls = {files.call("storageGenerateUploadUrl") for _ in range(2)}
    prefix = f"{ORIGIN}/api/storage/upload?token="
    (token,) = (url.removeprefix(prefix) for url in urls)
    assert check_upload_token(SECRET, token, now_seconds + 3_599)[0] is UploadToken.VALID
    assert check_upload_token(SECRET, token, now_seconds + 3_601)[0] is UploadToken.EXPIRED


def test_every_changed_character_of_a_token_is_noticed() -> None:
    token = issue_upload_token(SECRET, 1_000)
    assert check_upload_token(SECRET, token, 999.9)[0] is UploadToken.VALID
    assert check_upload_token(SECRET, token, 1_000)[0] is UploadToken.EXPIRED
    assert check_upload_token(b"o" * 32, token, 0)[0] is UploadToken.FOREIGN
    for position, character in enumerate(token[:-1]):  # of the last character two bits are padding
        changed = token[:position] + ("A" if character != "A" else "B") + token[position + 1 :]
        assert check_upload_token(SECRET, changed, 0)[0] is not UploadToken.VALID, position
    assert check_upload_token(SECRET, token + "AAAA", 0)[0] is UploadToken.FOREIGN
    for text in ("", "x", "ü", token[:-2], token[:-1] + "!", "=" * 55):
        assert check_upload_token(SECRET, text, 0)[0] is UploadToken.UNREADABLE, text


def test_a_token_names_the_component_whose_files_are_uploaded() -> None:
    token = issue_upload_token(SECRET, 1_000, "a component")
    assert check_upload_token(SECRET, token, 0) == (UploadToken.VALID, "a component")
    assert check_upload_token(SECRET, issue_upload_token(SECRET, 1_000), 0) == (UploadToken.VALID, "")


# --- the gateway's operations --------------------------------------------------------------------------


def row_of(content: bytes, storage_id: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    row = {"storageId": storage_id, "component": "", "storageKey": digest, "sha256": digest}
    return {**row, "size": len(content), "contentType": None}


def test_a_row_that_is_asked_for_twice_is_one_file(files: Files) -> None:
    row = row_of(HELLO, str(uuid.uuid4()))
    answers = [files.deployment.operate("store_file", row) for _ in range(2)]
    assert answers[0] == answers[1] and len(files.query_all()) == 1
    found = files.deployment.operate("locate_file", {"storageId": row["storageId"], "component": ""})
    assert found == {name: row[name] for name in ("storageKey", "sha256", "size", "contentType")}
    assert files.deployment.operate("locate_file", {"storageId": str(uuid.uuid4()), "component": ""}) is None


# --- collection ----------------------------------------------------------------------------------------


def collect(files: Files, hours_later: float) -> int:
    """How many blobs a collection at that time deletes."""

    def reads() -> Any:
        transaction = files.database.begin(is_read_only=True)
        return transaction.snapshot, transaction.catalog

    def now_ns() -> int:
        return int((os.stat(files.blobs.folder).st_mtime + hours_later * 3_600) * 1e9)

    return asyncio.run(BlobCollector(files.blobs, reads, now_ns).collect())


def test_bytes_go_a_day_after_the_last_file_that_names_them(files: Files) -> None:
    first, second = files.store(), files.store()
    files.store(b"stays")
    late = limits.BLOB_UNUSED_HOURS_MIN + 0.1
    for deleted in (first, second):
        assert collect(files, late) == 0
        files.call("storageDelete", storageId=deleted)
    assert collect(files, limits.BLOB_UNUSED_HOURS_MIN - 0.1) == 0
    assert collect(files, late) == 1
    assert files.blobs.size_of(HELLO_HASH.hexdigest()) is None
    assert files.blobs.size_of(hashlib.sha256(b"stays").hexdigest()) == 5


def test_nothing_is_collected_while_the_index_of_blobs_is_being_filled(files: Files) -> None:
    files.call("storageDelete", storageId=files.store())

    def unfill(transaction: Any) -> None:
        rows = transaction.catalog.tables["_index"]
        for row in transaction.all_documents(rows):
            if row["descriptor"] == "by_storage_key":
                on_disk = {"type": "Backfilling", "backfillState": {"staged": False}}
                transaction.patch(rows, row["_id"], {"config": {**row["config"], "onDiskState": on_disk}})

    files.database.transact(unfill)
    assert collect(files, 100) == 0
