"""What goes to stdout: bytes as they are, and JSON on one line."""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO, cast

from prism.cli.threads import write_all
from prism.ports import Version


def write(data: bytes) -> None:
    """The bytes, whatever the locale, and at once."""
    stream = sys.stdout.buffer
    # Unbuffered, stdout may take a part only, and says so by a number.
    write_all(cast("BinaryIO", stream), data)
    stream.flush()


def write_line(text: str) -> None:
    """The text as UTF-8, and a newline."""
    write(text.encode() + b"\n")


def write_json(**fields: Any) -> None:
    """One JSON object on one line."""
    write(encode_json(fields) + b"\n")


def encode_json(fields: dict[str, Any]) -> bytes:
    """One JSON object, compact, without a newline."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def version_field(version: Version) -> str:
    # As text, because many readers of JSON keep only 53 bits of a number.
    return str(version)
