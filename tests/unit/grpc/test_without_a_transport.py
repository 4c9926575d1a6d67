"""Servicers and everything below them, without a gRPC library."""

from __future__ import annotations

import subprocess
import sys

from tests.environment import environment_without_coverage

SCRIPT = """
import asyncio, sys
sys.modules["grpc"] = None  # importing it now raises ImportError

from prism.adapters.grpc.calls import Rejected, calls_of
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.memstore import DRIVER
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import Limits
from prism.v1 import keyvalue_pb2 as pb


class Context:
    connection = "c"
    pattern = ""
    timeout_s = None

    def metadata(self, name):
        return None


async def main():
    driver = DRIVER.factory()
    admission = Admission(max_in_flight=10, max_per_connection=10)
    lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
    await lifecycle.initialize({})
    await lifecycle.start()
    calls = calls_of(
        pb.DESCRIPTOR.services_by_name["KeyValueService"],
        KeyValueServicer(Gateway(driver, admission, Limits())),
        default_timeout=None,
        max_message_bytes=1 << 20,
    )
    path = "/prism.v1.KeyValueService/"
    await calls[path + "Set"](pb.SetRequest(key="k", value=b"v").SerializeToString(), Context())
    reply = await calls[path + "Get"](pb.GetRequest(key="k").SerializeToString(), Context())
    assert pb.GetResponse.FromString(reply).entry.value == b"v"
    try:
        await calls[path + "Get"](pb.GetRequest(key="").SerializeToString(), Context())
    except Rejected as rejected:
        print(rejected.status.code, rejected.status.message)
    await lifecycle.stop()


asyncio.run(main())
"""


def run(script: str) -> str:
    # Coverage measurement would be among the loaded modules.
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env=environment_without_coverage(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_gateway_and_servicers_run_without_grpc_imported() -> None:
    assert run(SCRIPT) == "3 the key is empty; a key is 1 to 1,024 bytes of UTF-8\n"


def test_importing_the_ports_loads_only_the_standard_library() -> None:
    loaded = run(
        "import sys, prism, prism.ports; "
        "names = {name.partition('.')[0] for name in sys.modules}; "
        "print(sorted(names - sys.stdlib_module_names - {'__main__', 'prism', '_virtualenv'}))"
    )
    # Path hooks of the editable installation load before the code of Prism.
    extra = [name for name in eval(loaded) if not name.startswith(("_", "sitecustomize"))]
    assert extra == []
