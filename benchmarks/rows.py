"""What is compared with what, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.nats_sides import NatsCallers
from benchmarks.observed import Observed
from benchmarks.processes import Variant
from benchmarks.proxied import PROXY, ProxiedClient
from benchmarks.redis_sides import RedisCallers, RedisGateway
from benchmarks.sides import (
    Client,
    Flat,
    InProcess,
    PerProcessorSecond,
    RandomGets,
    Side,
    StartUp,
    Wire,
)
from benchmarks.wire import BATCH_SET, GET, KEYS, SET, Load


@dataclass(frozen=True, slots=True)
class Row:
    """A claim about Prism.

    Attributes:
        side: what is measured.
        peer: what it is divided by; None: nothing, and less is better.
        floor: what has to be reached.
        aim: what we are after.
        at_once: both sides are measured at the same time, so that what disturbs one disturbs
            the other: for figures that do not depend on what share of a core a side has.
    """

    name: str
    side: Side
    peer: Side | None
    floor: float
    aim: float
    at_once: bool = False

    @property
    def less_is_better(self) -> bool:
        """Whether floor and aim bound from above."""
        return self.peer is None


_PRISM = (
    "-m",
    "prism.bootstrap",
    "--driver",
    "memstore",
    "--grpc-port",
    "0",
    "--metrics-port",
    "0",
)

_TRACED = ("--enable-tracing", "--trace-exporter", "otlp", "--trace-ratio", "0.01")

FULL = Variant(
    "full stack", _PRISM, "python -m prism.bootstrap --driver memstore, all else by default"
)
FULL_GRPCIO = Variant(
    "full stack on grpcio",
    (*_PRISM, "--transport", "grpcio"),
    f"{FULL.settings}, --transport grpcio",
)
FULL_REDIS = Variant(
    "full stack on redis",
    (*_PRISM, "--driver", "redis"),
    "python -m prism.bootstrap --driver redis, all else by default",
)
UNOBSERVED = Variant(
    "nothing observed",
    (*_PRISM, "--no-metrics", "--slow-request", "0s"),
    f"{FULL.settings}, --no-metrics --slow-request 0s",
)
OBSERVED = Variant(
    "all observed",
    (*_PRISM, *_TRACED),
    f"{FULL.settings}, {' '.join(_TRACED)}",
)
BARE_GRPC = Variant(
    "bare grpc.aio",
    ("-m", "benchmarks.peers.grpc_aio"),
    "grpc.aio server by its defaults on uvloop, generic handler, the same messages, a dict",
)
BARE_ASGI = Variant(
    "bare ASGI",
    ("-m", "benchmarks.peers.asgi"),
    "h2corn's embedded Server as Prism configures it, the same messages, a dict",
)

MANY = Load("Get", GET, in_flight=64)
ONE = Load("Get", GET, in_flight=1)
SETS = Load("Set", SET, in_flight=64, writes=(KEYS[0],))
BATCHES = Load("BatchSet", BATCH_SET, in_flight=8, writes=(KEYS[0], KEYS[-1]), items=len(KEYS))

_CLIENT = Client("prism", "prism.connect", "prism.connect by its defaults, 64 callers", FULL)
_PROXIED = ProxiedClient(
    Client("prism", "through proxy and pattern", f"{_CLIENT.settings}; {PROXY.settings}", PROXY)
)
_STUB = Client("stub", "grpc.aio stub", "as protoc makes it, default loop, 64 callers", FULL)


def _redis_driver(load: str) -> RedisCallers:
    return RedisCallers("prism", load, "the driver by its defaults, in a process of its own")


def _redis_py(load: str) -> RedisCallers:
    return RedisCallers("redis-py", load, "redis-py with a pool of 64, given the same commands")


def _in_process(operation: str, peer: str, settings: str) -> Row:
    ours = InProcess("memstore", operation, "the driver by its defaults, no limits set")
    return Row(
        f"in process, {operation}: memstore : {peer}",
        ours,
        InProcess(peer, operation, settings),
        3,
        5,
    )


def _nats_driver(operation: str) -> Row:
    return Row(
        f"NATS, 64 callers, {operation}: driver : nats-py's key-value",
        NatsCallers("prism", operation, "the driver by its defaults, in a process of its own"),
        NatsCallers("nats-py", operation, "key-value of nats-py, given the same requests"),
        1.2,
        3,
    )


_PY_KEY_VALUE = "MemoryStore by its defaults (no limit, no seed); values are dicts with one text"
_AIOCACHE = (
    "SimpleMemoryCache, NullSerializer, timeout=None (its default of 5 s costs a task a call)"
)

ROWS = [
    Row("Get, 64 in flight: full stack : bare grpc.aio",
        PerProcessorSecond(FULL, MANY), PerProcessorSecond(BARE_GRPC, MANY), 5, 8, at_once=True),
    Row("Get, 1 in flight: full stack : bare grpc.aio",
        Wire(FULL, ONE), Wire(BARE_GRPC, ONE), 1.2, 1.3),
    Row("Get, 64 in flight: full stack : bare ASGI on h2corn",
        PerProcessorSecond(FULL, MANY), PerProcessorSecond(BARE_ASGI, MANY),
        0.6, 0.8, at_once=True),
    Row("Get, 64 in flight: full stack on grpcio : bare grpc.aio",
        PerProcessorSecond(FULL_GRPCIO, MANY), PerProcessorSecond(BARE_GRPC, MANY),
        0.90, 0.97, at_once=True),
    Row("Get, 64 in flight: metrics, logs, 1 % traced : nothing observed",
        Observed(PerProcessorSecond(OBSERVED, MANY)), PerProcessorSecond(UNOBSERVED, MANY),
        0.93, 0.97, at_once=True),
    Row("keys/s: BatchSet of 1,000 : unary Set",
        Wire(FULL, BATCHES), Wire(FULL, SETS), 20, 50),
    Row("64 callers: prism.connect : grpc.aio stub, same server", _CLIENT, _STUB, 8, 20),
    Row("prism.connect with 64 callers through proxy and pattern : directly",
        _PROXIED, _CLIENT, 0.4, 0.6),
    _in_process("get", "py-key-value", _PY_KEY_VALUE),
    _in_process("set", "py-key-value", _PY_KEY_VALUE),
    _in_process("get", "aiocache", _AIOCACHE),
    _in_process("set", "aiocache", _AIOCACHE),
    Row("Redis, 64 callers that get and set: driver : redis-py",
        _redis_driver("get-and-set"), _redis_py("get-and-set"), 6, 10),
    Row("Redis, batches of 100: driver : redis-py's pipeline",
        _redis_driver("batch"), _redis_py("batch"), 1, 3),
    Row("Redis, Get with 64 in flight: through the gateway : redis-py by itself",
        RedisGateway(FULL_REDIS, MANY), _redis_py("get"), 1.5, 2.5),
    _nats_driver("get"),
    _nats_driver("set"),
    Row("random Gets through the gateway: a million keys : a thousand",
        RandomGets(FULL, 1_000_000), RandomGets(FULL, 1_000), 0.85, 0.95, at_once=True),
    Row("seconds from process start until serving", StartUp(FULL), None, 0.8, 0.4),
    Row("bytes a key, at a million", Flat("bytes-per-key"), None, 320, 300),
    Row("ms of the longest pause from growing and collecting, at a million keys",
        Flat("pause-ms"), None, 10, 5),
    Row("ms of the longest step of expiring a million keys",
        Flat("expiry-step-ms"), None, 5, 2),
]  # fmt: skip
