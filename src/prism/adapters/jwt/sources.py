"""Where the keys of an issuer come from: a file, or the issuer itself.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from prism.adapters.jwt.fetching import check_url, content_at
from prism.adapters.jwt.keys import KeySet, parse_keys
from prism.ports import InvalidArgument

log = logging.getLogger(__name__)

_PERIOD_S = 300.0
"""Time between two looks at the keys of an issuer."""

_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after failures; the last one is repeated."""

_LEAST_S = 5.0
"""Time between two looks that unknown keys ask for."""

_ATTEMPT_S = 8.0

_DISCOVERY = "/.well-known/openid-configuration"


class KeyFile:
    """Keys in a file.

    Raises:
        InvalidArgument: the file cannot be read, or has no key that fits.
    """

    def __init__(self, path: Path, algorithms: Sequence[str]) -> None:
        self._path = path
        self._algorithms = algorithms
        self.current = self._read()

    def reload(self) -> bool:
        """Use the present content; return whether it has changed.

        Raises:
            InvalidArgument: as the constructor; nothing is changed.
        """
        keys = self._read()
        if keys == self.current:
            return False
        self.current = keys
        return True

    async def refresh(self) -> bool:
        """Return False: the file is read when it changes."""
        return False

    def _read(self) -> KeySet:
        try:
            return parse_keys(self._path.read_bytes(), self._algorithms)
        except OSError as error:
            raise InvalidArgument(f"{self._path} cannot be read: {error.strerror}") from None
        except InvalidArgument as error:
            raise InvalidArgument(f"{self._path}: {error.message}") from None


class IssuerKeys:
    """Keys of an issuer, asked for in the background while `run` does; kept when that fails.

    Args:
        issuer: URL of the issuer, which names the address of its keys.
        url: address of the keys; None: the issuer is asked for it.
        changed: called after keys have changed.
        period_s: time between two looks.
        least_s: time between two looks that unknown keys ask for.
    """

    def __init__(
        self,
        issuer: str,
        url: str | None,
        algorithms: Sequence[str],
        changed: Callable[[], None],
        *,
        period_s: float = _PERIOD_S,
        least_s: float = _LEAST_S,
    ) -> None:
        self.current: KeySet | None = None
        self._issuer = issuer
        self._url = url
        self._algorithms = algorithms
        self._changed = changed
        self._period_s = period_s
        self._least_s = least_s
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._failures = 0
        self._problem = ""

    async def run(self) -> None:
        """Look for keys at intervals, until cancelled."""
        while True:
            pause_s = self._period_s
            if self._failures:
                pause_s = _PAUSES_S[min(self._failures, len(_PAUSES_S)) - 1]
            # A caller may have asked for a look meanwhile.
            left_s = self._looked_at + pause_s - monotonic()
            if left_s > 0:
                await asyncio.sleep(left_s)
            else:
                await self._look()

    async def refresh(self) -> bool:
        """Look for newer keys, if that was not done just now; return whether there are any."""
        before = self.current
        if self._looking is not None or monotonic() - self._looked_at >= self._least_s:
            await self._look()
        return self.current is not before

    async def _look(self) -> None:
        """Look once; those who ask meanwhile wait for the same answer."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._fetch())
            self._looking.add_done_callback(self._end_look)
        # Who waits may go; the look goes on.
        await asyncio.shield(self._looking)

    def _end_look(self, _: asyncio.Task[None]) -> None:
        self._looking = None
        self._looked_at = monotonic()

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                keys = await self._keys()
        except (InvalidArgument, TimeoutError) as error:
            problem = str(error) or f"no answer within {_ATTEMPT_S:g} s"
            self._failures += 1
            if problem != self._problem:
                self._problem = problem
                rest = (
                    "no JWT can be checked until they are"
                    if self.current is None
                    else "those known before stay in use"
                )
                log.warning("the keys of %s cannot be fetched: %s; %s", self._issuer, problem, rest)
            return
        if self._failures or self.current is None:
            log.info("the keys of %s are known", self._issuer)
        self._failures, self._problem = 0, ""
        if keys != self.current:
            self.current = keys
            self._changed()

    async def _keys(self) -> KeySet:
        """Ask the issuer; raises InvalidArgument."""
        url = self._url
        if url is None:
            place = self._issuer.rstrip("/") + _DISCOVERY
            found: object = None
            with suppress(ValueError, RecursionError):
                found = json.loads(await content_at(place))
            if not isinstance(found, dict) or not isinstance(found.get("jwks_uri"), str):
                raise InvalidArgument(f"{place} has no jwks_uri")
            if found.get("issuer") != self._issuer:
                raise InvalidArgument(f"{place} is about another issuer")
            url = found["jwks_uri"]
            check_url("jwks_uri", url)
        try:
            return parse_keys(await content_at(url), self._algorithms)
        except InvalidArgument as error:
            raise InvalidArgument(f"{url}: {error.message}") from None
