"""Admin keys in all their spellings, and who may do what."""

from __future__ import annotations

import base64

import orjson
import pytest

from gateway.client_version import NOBODY, parse_client_header, parse_path_version
from gateway.identity import (
    READER_OPERATIONS,
    AdminCredentials,
    UserToken,
    acting_as,
    read_credentials,
    read_given_key,
    require_admin,
)
from gateway.status import TREATMENTS, close_reason, http_answer
from log import errors
from log.errors import BackendError, ErrorKind
from log.identity import ADMIN, READER, UNKNOWN
from log.limits import CLOSE_REASON_BYTES_MAX
from log.secrets import issue_admin_key

from ..support.fake_backend import SETTINGS

KEY = issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1)
READ_ONLY_KEY = issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1, read_only=True)
PAYLOAD = KEY.partition("|")[2]
ATTRIBUTES = base64.b64encode(b'{"tokenIdentifier":"t|s","name":null,"plan":"pro"}').decode()


@pytest.mark.parametrize("prefix", ["", "prod:", "dev:"])
def test_a_type_before_the_name_does_not_matter(prefix: str) -> None:
    assert read_given_key(SETTINGS, f"{prefix}{KEY}").identity == ADMIN
    acting = read_given_key(SETTINGS, f"{prefix}{KEY}:{ATTRIBUTES}").identity
    assert acting.kind == "acting" and acting.is_admin and not acting.is_plain_admin
    assert orjson.loads(acting.attributes_json or b"") == {"tokenIdentifier": "t|s", "plan": "pro"}


@pytest.mark.parametrize(
    "key", ["", "x", f"other|{PAYLOAD}", f"test-instance|{PAYLOAD}x", f"preview:a|{PAYLOAD}", KEY[:-3], "é|é"]
)
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(BackendError) as refusal:
        read_given_key(SETTINGS, key)
    assert refusal.value.code == "BadAdminKey"


def test_the_header_counts_before_the_parameter() -> None:
    assert read_credentials(None) is None
    assert read_credentials(None, KEY) == AdminCredentials(KEY)
    assert read_credentials(f"CONVEX {KEY}", "wrong") == AdminCredentials(KEY)
    assert read_credentials("Bearer a.b.c", KEY) == UserToken("a.b.c")


def test_acting_as_needs_someone_to_act_as() -> None:
    with pytest.raises(BackendError) as refusal:
        acting_as(ADMIN, {"issuer": "i"})
    assert refusal.value.code == "HeaderParseFailure"


def test_a_read_only_key_looks_and_does_not_write_nor_act_as_others() -> None:
    reader = read_given_key(SETTINGS, READ_ONLY_KEY).identity
    assert reader == READER and reader.is_admin and reader.is_plain_admin and not reader.may_write
    assert require_admin(SETTINGS, reader) == reader
    for run in (
        lambda: require_admin(SETTINGS, reader, "Deploy"),
        lambda: read_given_key(SETTINGS, f"{READ_ONLY_KEY}:{ATTRIBUTES}"),
    ):
        with pytest.raises(BackendError) as refusal:
            run()
        assert refusal.value.code == "OperationNotPermitted"
        assert refusal.value.message.startswith("You do not have permission to perform this operation (")
    assert not [name for name in READER_OPERATIONS if name.startswith(("Write", "Delete", "Pause", "Deploy"))]


def test_nobody_is_no_admin() -> None:
    with pytest.raises(BackendError) as refusal:
        require_admin(SETTINGS, UNKNOWN)
    assert refusal.value.code == "BadDeployKey"


@pytest.mark.parametrize(
    ("header", "chunks", "output", "structured"),
    [
        ("npm-1.48.0", True, "json", False),
        ("npm-1.28.0", True, "json", False),
        ("npm-1.27.9", False, "json", False),
        ("npm-1.4.0", False, "convex_encoded_json", False),
        ("npm-cli-1.48.0", False, "json", True),
        ("dashboard-0.0.0", False, "json", True),
        ("python-0.4.0", False, "convex_encoded_json", False),
        ("mine-is-odd", False, "json", False),
    ],
)
def test_a_client_header_says_what_the_client_can_read(
    header: str, chunks: bool, output: str, structured: bool
) -> None:
    client = parse_client_header(header)
    found = (client.takes_chunks, client.default_format, client.reads_structured_logs)
    assert found == (chunks, output, structured)


def test_a_version_in_the_address_is_one_of_npm_and_nobody_is_sent_chunks() -> None:
    assert parse_path_version("1.48.0") == parse_client_header("npm-1.48.0")
    assert not NOBODY.takes_chunks
    assert (
        parse_client_header("python-0.1.0").must_upgrade and not parse_client_header("npm-1.0.0").must_upgrade
    )


def test_every_kind_of_error_has_its_treatment() -> None:
    assert set(TREATMENTS) == set(ErrorKind)


def test_a_close_reason_fits_its_frame_and_internal_errors_say_nothing_more() -> None:
    long = BackendError(ErrorKind.OVERLOADED, "é" * 200, "m")
    assert len(close_reason(long).encode()) <= CLOSE_REASON_BYTES_MAX
    assert close_reason(errors.socket_protocol_broken("detail")) == "InternalServerError"
    status, body = http_answer(errors.bad_admin_key())
    assert (status, orjson.loads(body)["code"]) == (401, "BadAdminKey")
