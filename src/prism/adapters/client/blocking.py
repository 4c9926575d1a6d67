"""`prism.connect_sync`: the client for programs that block, from any number of threads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from datetime import timedelta
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from prism.adapters.client.background_loop import background_loop
from prism.adapters.client.channel import TLS
from prism.adapters.client.connection import CALL_TIMEOUT, Client, connect
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lock import Lock
from prism.ports import Entry, Event, Profile

Args = ParamSpec("Args")
Result = TypeVar("Result")


def _blocking(
    method: Callable[Concatenate[Any, Args], Coroutine[object, None, Result]],
) -> Callable[Concatenate[Any, Args], Result]:
    """Return a method that waits for the asynchronous method of the same name."""

    @wraps(method)
    def call(self: Any, *args: Args.args, **kwargs: Args.kwargs) -> Result:
        # Found by name, because the client may have a method of its own.
        asynchronous = getattr(self._asynchronous, method.__name__)
        result: Result = background_loop().call(asynchronous(*args, **kwargs))
        return result

    return cast("Callable[Concatenate[Any, Args], Result]", call)


class BlockingKeyValue:
    """Key-value operations that block; each is as `prism.ports` describes it.

    Safe to use from many threads at once, whose operations share messages, and in a child that
    was forked.
    """

    def __init__(self, asynchronous: KeyValueClient) -> None:
        self._asynchronous = asynchronous

    fetch_profile = _blocking(KeyValueClient.fetch_profile)
    get = _blocking(KeyValueClient.get)
    set = _blocking(KeyValueClient.set)
    compare_and_set = _blocking(KeyValueClient.compare_and_set)
    delete = _blocking(KeyValueClient.delete)
    compare_and_delete = _blocking(KeyValueClient.compare_and_delete)
    exists = _blocking(KeyValueClient.exists)
    expire = _blocking(KeyValueClient.expire)
    ttl = _blocking(KeyValueClient.ttl)
    persist = _blocking(KeyValueClient.persist)
    get_many = _blocking(KeyValueClient.get_many)
    set_many = _blocking(KeyValueClient.set_many)
    delete_many = _blocking(KeyValueClient.delete_many)
    scan = _blocking(KeyValueClient.scan)
    increment = _blocking(KeyValueClient.increment)
    apply = _blocking(KeyValueClient.apply)

    @contextmanager
    def watch(self, prefix: str = "") -> Iterator[Iterator[Event]]:
        """Watch, and yield an iterator that waits for each event; see `prism.ports.Watch`."""
        with _entered(self._asynchronous.watch(prefix)) as events:
            yield _iterated(events)


class BlockingLock:
    """A lock that is held by a program that blocks; see `Lock`.

    Attributes:
        key: its key.
        version: version of that key while the lock is held.
    """

    def __init__(self, asynchronous: Lock) -> None:
        self._asynchronous = asynchronous
        self.key = asynchronous.key
        self.version = asynchronous.version

    renew = _blocking(Lock.renew)


class BlockingClient(BlockingKeyValue):
    """Connection of `prism.connect_sync`: every operation of `Client`, blocking.

    A context manager that closes it at the end.

    Attributes:
        profile: name, capabilities and limits of the server's driver.
        once: the same operations, each tried once.
    """

    def __init__(self, connection: AbstractAsyncContextManager[Client]) -> None:
        self._connection = connection
        client = background_loop().call(_enter(connection))
        super().__init__(client)
        self._client = client
        self.profile: Profile = client.profile
        self.once = BlockingKeyValue(client.once)
        self._closed = False

    get_many = _blocking(Client.get_many)
    set_many = _blocking(Client.set_many)
    delete_many = _blocking(Client.delete_many)
    count = _blocking(Client.count)
    delete_prefix = _blocking(Client.delete_prefix)

    def scan_iter(self, prefix: str = "") -> Iterator[str]:
        """Yield every key with a prefix; see `Client.scan_iter`."""
        return _all_of(self._client.scan_iter(prefix))

    def scan_entries(self, prefix: str = "") -> Iterator[tuple[str, Entry]]:
        """Yield every key with a prefix and its entry; see `Client.scan_entries`."""
        return _all_of(self._client.scan_entries(prefix))

    @contextmanager
    def lock(
        self, name: str, *, ttl: timedelta, wait: timedelta | None = None
    ) -> Iterator[BlockingLock]:
        """Hold a lock for as long as the context lasts; see `Client.lock`."""
        with _entered(self._client.lock(name, ttl=ttl, wait=wait)) as lock:
            yield BlockingLock(lock)

    def close(self) -> None:
        """Close the connection; calls of other threads fail. Safe more than once."""
        if not self._closed:
            self._closed = True
            background_loop().call(_exit(self._connection))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def connect_sync(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
    token: str | None = None,
    pattern: str | None = None,
    retry: bool = True,
    wait_for_server: timedelta = timedelta(0),
) -> BlockingClient:
    """Connect to a Prism server from a program that blocks.

        with prism.connect_sync("127.0.0.1:9090") as kv:
            kv.set("greeting", b"hello")
            entry = kv.get("greeting")

    One client is enough for all threads: operations that they start at the same time go into one
    message. It needs no event loop of the program. A child that was forked can go on with the
    client of its parent, and has connections of its own.

    Arguments and errors are those of `prism.connect`.
    """
    return BlockingClient(
        connect(
            address,
            timeout=timeout,
            tls=tls,
            admin_token=admin_token,
            token=token,
            pattern=pattern,
            retry=retry,
            wait_for_server=wait_for_server,
        )
    )


@contextmanager
def _entered(context: AbstractAsyncContextManager[Result]) -> Iterator[Result]:
    entered = background_loop().call(_enter(context))
    try:
        yield entered
    except BaseException as error:
        background_loop().call(_leave(context, error))
        raise
    else:
        background_loop().call(_exit(context))


async def _enter(context: AbstractAsyncContextManager[Result]) -> Result:
    return await context.__aenter__()


async def _exit(context: AbstractAsyncContextManager[object]) -> None:
    await context.__aexit__(None, None, None)


async def _leave(context: AbstractAsyncContextManager[object], error: BaseException) -> None:
    """Leave a context because of an error, which the caller raises."""
    try:
        await context.__aexit__(type(error), error, error.__traceback__)
    except BaseException as raised:
        if raised is not error:
            raise


def _all_of(items: AsyncGenerator[Result, None]) -> Iterator[Result]:
    """Yield what an asynchronous generator yields, and close it."""
    with _entered(aclosing(items)):
        yield from _iterated(items)


def _iterated(items: AsyncIterator[Result]) -> Iterator[Result]:
    """Yield what an asynchronous iterator yields."""
    end = object()

    async def following() -> Any:
        return await anext(items, end)

    while True:
        item = background_loop().call(following())
        if item is end:
            return
        yield item
