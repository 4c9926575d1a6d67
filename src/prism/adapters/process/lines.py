"""Output cut into lines, none of them longer than somebody may want to read."""

from __future__ import annotations

LONGEST_BYTES = 16 << 10


class Lines:
    """Leaves out empty lines, and what is too much of a line."""

    def __init__(self) -> None:
        self._begun = b""
        self._overlong = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete."""
        *ended, begun = data.split(b"\n")
        lines = []
        if ended:
            if not self._overlong:
                lines.append(self._begun + ended[0])
            lines += ended[1:]
            self._begun, self._overlong = b"", False
        if not self._overlong:
            self._begun += begun
            if len(self._begun) > LONGEST_BYTES:
                lines.append(self._begun)
                self._begun, self._overlong = b"", True
        return [_readable(line) for line in lines if line]

    def rest(self) -> list[bytes]:
        """The last line, which nothing ended."""
        return self.feed(b"\n")


def _readable(line: bytes) -> bytes:
    return line if len(line) <= LONGEST_BYTES else line[:LONGEST_BYTES] + b" [cut]"
