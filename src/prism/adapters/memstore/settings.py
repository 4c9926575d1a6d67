"""What can be set, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from prism.ports import InvalidArgument, setting


@dataclass(frozen=True, slots=True)
class MemstoreSettings:
    """Limits on what is kept. Nothing is evicted: a write beyond one is refused."""

    max_keys: int = setting(0, help="Keys to hold at most; 0: no limit.")
    max_bytes: int = setting(0, help="Bytes of keys and values to hold at most; 0: no limit.")
    max_value_bytes: int = setting(1 << 20, help="Bytes of one value at most.")

    def __post_init__(self) -> None:
        """Refuse what cannot work: the setting, its value, and what is allowed."""
        for name, value, least, allowed in (
            ("max_keys", self.max_keys, 0, "0 (no limit) or more"),
            ("max_bytes", self.max_bytes, 0, "0 (no limit) or more"),
            ("max_value_bytes", self.max_value_bytes, 1, "1 or more"),
        ):
            if value < least:
                raise InvalidArgument(
                    f"memstore setting {name}: {value} is not allowed, use {allowed}"
                )
