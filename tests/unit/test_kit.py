from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from prism.kit import (
    ClientTls,
    ReplyBudget,
    add_to_counter,
    clamp_page_size,
    client_tls_context,
    closed,
    plain_private_key,
    tls_problem,
    version_conflict,
)
from prism.ports import (
    INT64_MAX,
    INT64_MIN,
    Entry,
    Exhausted,
    Internal,
    InvalidArgument,
    Limits,
    NotServing,
    PreconditionFailed,
    Version,
)
from tests.servers.authority import Authority, replace_file


def entry(size: int) -> Entry:
    return Entry(b"x" * size, Version(1))


def test_every_use_of_a_closed_resource_is_refused() -> None:
    connection = closed("the connection")
    with pytest.raises(NotServing, match=r"^the connection is not open: "):
        connection.execute("SELECT 1")
    with pytest.raises(NotServing):
        _ = connection.size
    with pytest.raises(AttributeError):
        connection.size = 1


@pytest.mark.parametrize(
    ("stored", "delta", "total"),
    [
        (None, -2, -2),
        (b"0", 0, 0),
        (b"10", -12, -2),
        (b"%d" % INT64_MIN, INT64_MAX, -1),
        (b"%d" % (INT64_MAX - 1), 1, INT64_MAX),
    ],
)
def test_the_delta_is_added_to_the_stored_number(
    stored: bytes | None, delta: int, total: int
) -> None:
    assert add_to_counter(stored, delta) == total


@pytest.mark.parametrize(
    "stored",
    [
        b"", b"-0", b"01", b"+1", b" 1", b"1\n", b"1_0", b"1.0", b"x", "\u0661".encode(),
        b"%d" % (INT64_MAX + 1), b"%d" % (INT64_MIN - 1), b"1" * 5000,
    ],
)  # fmt: skip
def test_a_value_that_is_not_a_canonical_int64_is_refused(stored: bytes) -> None:
    with pytest.raises(PreconditionFailed) as refusal:
        add_to_counter(stored, 1)
    assert refusal.value.reason == "NOT_AN_INTEGER"


@pytest.mark.parametrize(
    ("start", "delta"), [(INT64_MAX, 1), (INT64_MIN, -1), (1, INT64_MAX), (-1, INT64_MIN)]
)
def test_a_sum_beyond_int64_is_refused(start: int, delta: int) -> None:
    with pytest.raises(PreconditionFailed) as refusal:
        add_to_counter(b"%d" % start, delta)
    assert refusal.value.reason == "OVERFLOW"


def test_a_conflict_says_what_was_expected() -> None:
    assert "requires it to be absent" in version_conflict(None).message
    assert "another version" in version_conflict(Version(7)).message


def test_values_are_returned_as_far_as_the_budget_reaches() -> None:
    failed = Internal("cannot be read")
    budget = ReplyBudget(10)
    outcomes = budget.limit([entry(6), None, entry(5), failed, entry(3)])
    assert outcomes[0] == entry(6)
    assert outcomes[1] is None
    assert isinstance(outcomes[2], Exhausted)
    assert outcomes[3] is failed
    assert outcomes[4] == entry(3)
    assert (budget.take(2), budget.take(1), budget.take(1)) == (False, True, False)


def test_the_overhead_of_an_entry_counts_against_the_budget() -> None:
    budget = ReplyBudget(10, entry_overhead=3)
    first, second = budget.limit([entry(6), entry(0)])
    assert first == entry(6)
    assert isinstance(second, Exhausted)


@pytest.mark.parametrize(("asked", "given"), [(0, 100), (1, 1), (500, 500), (501, 500)])
def test_a_page_size_is_within_the_limits(asked: int, given: int) -> None:
    assert clamp_page_size(asked, Limits(max_page_size=500)) == given


def test_the_default_page_size_is_within_the_limits() -> None:
    assert clamp_page_size(0, Limits(max_page_size=50)) == 50


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    for cert, key in ((tmp_path / "a.pem", None), (None, tmp_path / "a.pem")):
        with pytest.raises(InvalidArgument, match=r"a\.pem is given alone"):
            client_tls_context(cert=cert, key=key)


def test_a_tls_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent.pem", tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    for ca in (absent, empty):
        with pytest.raises(InvalidArgument, match=ca.name):
            client_tls_context(ca=ca)
    with pytest.raises(InvalidArgument, match=r"absent\.pem cannot be read: No such file"):
        client_tls_context(cert=absent, key=empty)
    with pytest.raises(InvalidArgument, match=r"empty\.pem holds no certificate in PEM"):
        client_tls_context(cert=empty, key=empty)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
        ("TLSV1_ALERT_UNKNOWN_CA", "TLS failed: tlsv1 alert unknown ca"),
    ],
)
def test_failed_handshake_is_explained(error: str, says: str) -> None:
    failure = ssl.SSLError(1, f"[SSL: {error}] somewhere (_ssl.c:1006)")
    failure.reason = error
    assert tls_problem(failure) == says


def test_usable_tls_files_are_loaded(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=here"
    subprocess.run(
        [*request.split(), "-keyout", key, "-out", cert], check=True, capture_output=True
    )
    context = client_tls_context(ca=cert, cert=cert, key=key)
    assert context.cert_store_stats()["x509"] == 1
    assert client_tls_context().check_hostname


def test_changed_tls_files_are_loaded_for_the_next_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority("ours")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    cert, key = authority.write(tmp_path, "client")
    files = ClientTls(ca=ca, cert=cert, key=key)
    first = files.context
    assert files.context is first
    other_cert, other_key = authority.issue("client")
    replace_file(cert, other_cert)
    assert [files.context, files.context] == [first, first]
    (record,) = caplog.records
    assert record.message.endswith("those loaded before stay in use")
    replace_file(key, other_key)
    assert files.context is not first


def test_an_encrypted_key_of_a_client_is_used_with_its_password(tmp_path: Path) -> None:
    cert, key = Authority("ours").write(tmp_path, "client", password="secret")
    with pytest.raises(InvalidArgument, match="is encrypted: give its password"):
        ClientTls(cert=cert, key=key)
    with pytest.raises(InvalidArgument, match="does not decrypt it"):
        ClientTls(cert=cert, key=key, key_password="other")
    files = ClientTls(cert=cert, key=key, key_password="secret")
    with pytest.raises(InvalidArgument, match="does not decrypt it"):
        files.use_password("other")
    assert b"ENCRYPTED" not in plain_private_key(key, "secret")
    with pytest.raises(InvalidArgument, match="does not decrypt it"):
        plain_private_key(key, "other")
