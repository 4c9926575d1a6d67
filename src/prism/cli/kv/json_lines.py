"""The format of `load` and `dump`: a pair is a JSON object on a line.

    {"key":"greeting","value":"hello"}
    {"key":"logo","value_base64":"iVBORw0KGgo=","ttl_ms":60000}

https://jsonlines.org
"""

from __future__ import annotations

import binascii
import json
import time
from datetime import timedelta
from typing import Any, Final

from prism.domain.validation import check_key, check_ttl, check_value
from prism.ports import Capability, Entry, InvalidArgument, Profile, Put

FIELDS: Final = ("key", "value", "value_base64", "ttl_ms")

# Objects as tuples of pairs: unlike a dict they show a field that stands twice.
_decode = json.JSONDecoder(object_pairs_hook=tuple).decode
_encode = json.JSONEncoder(ensure_ascii=False).encode


class Refused(ValueError):
    """A line that holds no pair, or none that this server can take; says why."""


def decode(line: bytes) -> Put:
    """The pair on a line.

    Raises:
        Refused: it is malformed.
    """
    try:
        fields = _decode(line.decode())
    except UnicodeDecodeError as error:
        raise Refused(f"not UTF-8 at byte {error.start + 1}") from None
    except RecursionError:
        raise Refused("not a pair: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise Refused(f"not JSON: {error}") from None
    if not isinstance(fields, tuple):
        raise Refused('not a pair: an object such as {"key":"k","value":"v"} is expected')
    given: dict[str, Any] = {}
    for name, content in fields:
        if name not in FIELDS:
            raise Refused(f"unknown field {name!r}; valid are: {', '.join(FIELDS)}")
        if name in given:
            raise Refused(f"the field {name!r} stands twice")
        given[name] = content
    if "key" not in given:
        raise Refused("the field 'key' is missing")
    if not isinstance(given["key"], str):
        raise Refused("the field 'key' is not a text")
    return Put(given["key"], _value(given), _ttl(given["ttl_ms"]) if "ttl_ms" in given else None)


def check(put: Put, profile: Profile) -> int:
    """The bytes that the pair takes in a batch.

    Raises:
        Refused: the server would refuse it.
    """
    if put.ttl is not None and Capability.TTL not in profile.capabilities:
        raise Refused(f"it has a ttl_ms, and the backend {profile.driver!r} has no ttl")
    try:
        return check_key(put.key) + check_value(put.value, profile.limits.max_value_bytes)
    except InvalidArgument as error:
        raise Refused(error.message) from None


def encode(key: str, entry: Entry) -> bytes:
    """The pair as a line, newline included; the same pair is always the same line."""
    # Field by field, because encoding a dict takes four times as long.
    try:
        value = f'"value":{_encode(entry.value.decode())}'
    except UnicodeDecodeError:
        value = f'"value_base64":"{_base64(entry.value)}"'
    ttl = "" if entry.expires_at_ms is None else f',"ttl_ms":{remaining_ms(entry)}'
    return f'{{"key":{_encode(key)},{value}{ttl}}}\n'.encode()


def value_field(value: bytes) -> dict[str, str]:
    """The value as text under `value`, or under `value_base64` where it is none."""
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": _base64(value)}


def remaining_ms(entry: Entry) -> int | None:
    """What is left of the entry's life by the local clock, at least 1; None: no end."""
    if entry.expires_at_ms is None:
        return None
    return max(1, entry.expires_at_ms - time.time_ns() // 1_000_000)


def _value(given: dict[str, Any]) -> bytes:
    if ("value" in given) == ("value_base64" in given):
        both = "value" in given
        raise Refused(f"{'both' if both else 'neither'} of 'value' and 'value_base64'")
    name = "value" if "value" in given else "value_base64"
    text = given[name]
    if not isinstance(text, str):
        raise Refused(f"the field {name!r} is not a text")
    try:
        if name == "value":
            return text.encode()
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except UnicodeEncodeError as error:
        reason = "not text: it has a lone surrogate" if name == "value" else "not base64"
        raise Refused(f"the field {name!r} is {reason} at character {error.start + 1}") from None
    except binascii.Error as error:
        raise Refused(f"the field {name!r} is not base64: {error}") from None


def _ttl(ttl_ms: object) -> timedelta:
    if not isinstance(ttl_ms, int) or isinstance(ttl_ms, bool):
        raise Refused("the field 'ttl_ms' is not a whole number")
    try:
        ttl = timedelta(milliseconds=ttl_ms)
        check_ttl(ttl)
    except (OverflowError, InvalidArgument):
        raise Refused("the field 'ttl_ms' must be above zero and at most 100 years") from None
    return ttl


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()
