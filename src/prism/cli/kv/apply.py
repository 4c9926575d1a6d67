"""`prism kv apply`: writes of several keys from a file, all or none, and the format of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import typer

from prism.cli.connection import KeyCommand, connection_of
from prism.cli.errors import print_message
from prism.cli.kv.json_lines import FIELDS, InvalidLine, fields_of, key_of, parse, put_of
from prism.cli.parameters import AsJson, example
from prism.cli.streams import version_field, write_json
from prism.ports import Condition, ConditionFailed, Delete, Presence, Version, Write
from prism.ports.text import counted

app = typer.Typer(rich_markup_mode=None)


@app.command(cls=KeyCommand, epilog=example("kv apply order.json"))
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON; `-`: stdin.")],
    as_json: AsJson = False,
) -> None:
    """Write several keys, all or none.

    Writes at one moment, and only if all conditions of the file hold. The file: {"conditions":
    [{"key": …, "version": … or "exists": …}], "writes": [{"key": …, "value": … or "value_base64":
    …, "ttl_ms": …} or {"key": …, "delete": true}]}. Exit status 4 if a condition does not hold.
    """
    conditions, writes = _read(file)
    try:
        results = connection_of(ctx).call("apply", lambda client: client.apply(conditions, writes))
    except ConditionFailed as error:
        if error.index < len(conditions):
            error.add_note(f"its key is {conditions[error.index].key!r}")
        raise
    if as_json:
        write_json(
            writes=[_result(*pair) for pair in zip(writes, results, strict=True)],
        )
    else:
        print_message(f"applied {counted(len(writes), 'write')}")


def _read(file: Path) -> Transaction:
    text = typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
    try:
        return read_transaction(text)
    except InvalidLine as error:
        raise typer.BadParameter(f"{file}: {error}") from None


def _result(write: Write, result: Version | bool) -> dict[str, object]:
    if isinstance(write, Delete):
        return {"key": write.key, "existed": result}
    return {"key": write.key, "version": version_field(Version(result))}


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
        raise InvalidLine(
            f"has {'both' if both else 'neither'} of 'version' and 'exists': give one"
        )
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
