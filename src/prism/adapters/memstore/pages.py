"""One page of a scan: it costs what it holds, not what the store holds."""

from __future__ import annotations

from prism.adapters.memstore.store import Store
from prism.kit import clamp_page_size
from prism.ports import Entry, InvalidArgument, Limits, Page

MAX_SKIPPED = 1000
"""Expired keys that one page passes over before it ends short."""


def page(
    store: Store, limits: Limits, *, prefix: str, page_size: int, page_token: str, values: bool
) -> Page:
    """The keys after `page_token`, which is the last one that the page before looked at.

    Raises:
        InvalidArgument: the token does not begin with the prefix.
    """
    if not page_token.startswith(prefix) and page_token:
        raise InvalidArgument("the page token is of a scan with another prefix")
    size = clamp_page_size(page_size, limits)
    keys: list[str] = []
    entries: list[Entry] = []
    skipped = room_taken = 0
    last = page_token
    for key in store.index.since(page_token or prefix):
        if key == page_token:
            continue
        if not key.startswith(prefix):
            break
        if len(keys) == size or skipped == MAX_SKIPPED:
            return Page(keys, entries if values else None, last)
        entry = store.read(key)
        if entry is None:
            skipped += 1
        else:
            if values:
                room_taken += len(key.encode()) + len(entry.value)
                if keys and room_taken > limits.max_batch_bytes:
                    return Page(keys, entries, last)
                entries.append(entry)
            keys.append(key)
        last = key
    return Page(keys, entries if values else None, "")
