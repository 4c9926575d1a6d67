"""The operations of all patterns together, as one table of counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prism.domain.tallies import OperationTallies, OperationTally


class PatternTallies:
    """Each operation of each pattern under a name of its own."""

    def __init__(self, by_pattern: Mapping[str, OperationTallies]) -> None:
        self._by_pattern = by_pattern

    def __iter__(self) -> Iterator[tuple[str, OperationTally]]:
        """Names such as `sessions get`, and tallies."""
        for pattern, tallies in self._by_pattern.items():
            for operation, tally in tallies.items():
                yield f"{pattern} {operation}", tally
