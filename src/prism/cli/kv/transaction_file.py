"""Format of the file of `apply`: a JSON object with conditions and writes.

    {
      "conditions": [
        {"key": "stock", "version": "17"},
        {"key": "order/7", "exists": false}
      ],
      "writes": [
        {"key": "stock", "value": "6"},
        {"key": "order/7", "value_base64": "iVBORw0KGgo=", "ttl_ms": 60000},
        {"key": "cart", "delete": true}
      ]
    }

A write of a value is a line of `load`. A version is the text that `prism kv get --json` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from prism.cli.kv.json_lines import FIELDS, InvalidLine, fields_of, key_of, parse, put_of
from prism.ports import Condition, Delete, Presence, Version, Write

_WRITE_FIELDS: Final = (*FIELDS, "delete")
_MAX_VERSION: Final = (1 << 64) - 1

Item = TypeVar("Item")


class Transaction(NamedTuple):
    """Conditions and writes of one file."""

    conditions: Sequence[Condition]
    writes: Sequence[Write]


def read_transaction(text: bytes) -> Transaction:
    """Return what a file asks for.

    Raises:
        InvalidLine: the file is malformed; the text says where.
    """
    content = parse(text)
    if not isinstance(content, tuple):
        raise InvalidLine("an object with conditions and writes is expected")
    given = fields_of(content, ("conditions", "writes"))
    return Transaction(
        _items("conditions", given.get("conditions", []), _condition),
        _items("writes", given.get("writes", []), _write),
    )


def _items(
    name: str, given: object, item_of: Callable[[tuple[tuple[str, object], ...]], Item]
) -> list[Item]:
    if not isinstance(given, list):
        raise InvalidLine(f"the field {name!r} is not a list")
    items = []
    for number, each in enumerate(given, 1):
        try:
            if not isinstance(each, tuple):
                raise InvalidLine("an object is expected")
            items.append(item_of(each))
        except InvalidLine as error:
            raise InvalidLine(f"item {number} of {name}: {error}") from None
    return items


def _condition(pairs: tuple[tuple[str, object], ...]) -> Condition:
    given = fields_of(pairs, ("key", "version", "exists"))
    key = key_of(given)
    if ("version" in given) == ("exists" in given):
        both = "version" in given
        raise InvalidLine(f"{'both' if both else 'neither'} of 'version' and 'exists'")
    if "exists" in given:
        exists = given["exists"]
        if not isinstance(exists, bool):
            raise InvalidLine("the field 'exists' is not true or false")
        return Condition(key, Presence.PRESENT if exists else Presence.ABSENT)
    return Condition(key, _version(given["version"]))


def _version(given: object) -> Version:
    text = str(given) if isinstance(given, str | int) else ""
    if not (text.isascii() and text.isdecimal()) or int(text) > _MAX_VERSION:
        raise InvalidLine("the field 'version' is not a number that `get --json` prints")
    return Version(int(text))


def _write(pairs: tuple[tuple[str, object], ...]) -> Write:
    given = fields_of(pairs, _WRITE_FIELDS)
    if "delete" not in given:
        return put_of(given)
    if given["delete"] is not True:
        raise InvalidLine("the field 'delete' is not true")
    if len(given) > 2:
        raise InvalidLine("'delete' goes with 'key' alone")
    return Delete(key_of(given))
