"""Which errors of JetStream a write of Prism can cause."""

from __future__ import annotations

import pytest

from prism.adapters.nats.errors import ApiError, is_expected_of_a_write


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 503, "err_code": 10008}, True),
        ({"code": 400, "err_code": 10071}, True),
        ({"code": 404, "err_code": 10059}, True),
        ({"code": 400, "err_code": 10025}, False),
        ({"code": 500, "err_code": 10999}, False),
        ({}, False),
    ],
)
def test_error_is_expected_if_a_write_or_the_state_of_the_server_causes_it(
    error: ApiError, expected: bool
) -> None:
    assert is_expected_of_a_write(error) is expected
