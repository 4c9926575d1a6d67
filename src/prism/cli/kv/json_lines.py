"""Format of `load` and `dump`: one JSON object for each pair, one line each.

    {"key":"greeting","value":"hello"}
    {"key":"logo","value_base64":"iVBORw0KGgo=","ttl_ms":60000}

https://jsonlines.org
"""

from __future__ import annotations

import binascii
import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from prism.domain.validation import check_key, check_ttl, check_value
from prism.ports import Capability, Entry, InvalidArgument, Profile, Put

FIELDS: Final = ("key", "value", "value_base64", "ttl_ms")

# Objects as tuples of pairs, which unlike a dict keep a repeated field.
_decode = json.JSONDecoder(object_pairs_hook=tuple).decode
_encode = json.JSONEncoder(ensure_ascii=False).encode


class InvalidLine(ValueError):
    """A line without a pair that this server accepts; the text is the reason."""


def decode(line: bytes) -> Put:
    """Return the pair on a line.

    Raises:
        InvalidLine: the line is malformed.
    """
    fields = parse(line)
    if not isinstance(fields, tuple):
        raise InvalidLine('not a pair: an object such as {"key":"k","value":"v"} is expected')
    return put_of(fields_of(fields, FIELDS))


def parse(text: bytes) -> object:
    """Return the content of a JSON text, objects as tuples of pairs.

    Raises:
        InvalidLine: it is malformed.
    """
    try:
        return _decode(text.decode())
    except UnicodeDecodeError as error:
        raise InvalidLine(f"not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise InvalidLine("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidLine(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise InvalidLine(f"not JSON: {error}") from None


def fields_of(pairs: tuple[tuple[str, object], ...], valid: Sequence[str]) -> dict[str, object]:
    """Return the fields of an object of `parse`; raises InvalidLine if one is not valid."""
    given: dict[str, object] = {}
    for name, content in pairs:
        if name not in valid:
            raise InvalidLine(f"unknown field {name!r}; the valid ones are: {', '.join(valid)}")
        if name in given:
            raise InvalidLine(f"the field {name!r} is given twice")
        given[name] = content
    return given


def key_of(given: Mapping[str, object]) -> str:
    """Return the field `key`; raises InvalidLine if it is missing or not text."""
    if "key" not in given:
        raise InvalidLine("the field 'key' is missing")
    key = given["key"]
    if not isinstance(key, str):
        raise InvalidLine("the field 'key' is not text")
    return key


def put_of(given: Mapping[str, object]) -> Put:
    """Return the pair that these fields describe; raises InvalidLine if they do not."""
    ttl = _ttl(given["ttl_ms"]) if "ttl_ms" in given else None
    return Put(key_of(given), _value(given), ttl)


def check(put: Put, profile: Profile) -> int:
    """Return the number of bytes of the pair in a batch.

    Raises:
        InvalidLine: the server would reject the pair.
    """
    if put.ttl is not None and Capability.TTL not in profile.capabilities:
        raise InvalidLine(
            f"the pair has a ttl_ms, and the backend {profile.driver!r} does not support ttl"
        )
    try:
        return check_key(put.key) + check_value(put.value, profile.limits.max_value_bytes)
    except InvalidArgument as error:
        raise InvalidLine(error.message) from None


def encode(key: str, entry: Entry) -> bytes:
    """Return the pair as a line with its newline; equal pairs give equal lines."""
    # Field by field: encoding a dict takes four times as long.
    try:
        value = f'"value":{_encode(entry.value.decode())}'
    except UnicodeDecodeError:
        value = f'"value_base64":"{_base64(entry.value)}"'
    ttl = "" if entry.expires_at_ms is None else f',"ttl_ms":{remaining_ms(entry)}'
    return f'{{"key":{_encode(key)},{value}{ttl}}}\n'.encode()


def value_field(value: bytes) -> dict[str, str]:
    """Return the value under `value` if it is text, else under `value_base64`."""
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": _base64(value)}


def remaining_ms(entry: Entry) -> int | None:
    """Return the time until the entry expires, at least 1; None: it does not expire."""
    if entry.expires_at_ms is None:
        return None
    return max(1, entry.expires_at_ms - time.time_ns() // 1_000_000)


def _value(given: Mapping[str, object]) -> bytes:
    if ("value" in given) == ("value_base64" in given):
        both = "value" in given
        raise InvalidLine(
            f"has {'both' if both else 'neither'} of 'value' and 'value_base64': give one"
        )
    name = "value" if "value" in given else "value_base64"
    text = given[name]
    if not isinstance(text, str):
        raise InvalidLine(f"the field {name!r} is not text")
    try:
        if name == "value":
            return text.encode()
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except UnicodeEncodeError as error:
        reason = "not text: it contains a lone surrogate" if name == "value" else "not base64"
        raise InvalidLine(
            f"the field {name!r} is {reason} at character {error.start + 1}"
        ) from None
    except binascii.Error as error:
        raise InvalidLine(f"the field {name!r} is not base64: {error}") from None


def _ttl(ttl_ms: object) -> timedelta:
    if not isinstance(ttl_ms, int) or isinstance(ttl_ms, bool):
        raise InvalidLine("the field 'ttl_ms' is not a whole number")
    try:
        ttl = timedelta(milliseconds=ttl_ms)
        check_ttl(ttl)
    except (OverflowError, InvalidArgument):
        raise InvalidLine("the field 'ttl_ms' must be above zero and at most 100 years") from None
    return ttl


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()
