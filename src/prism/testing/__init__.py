"""The acceptance suite, for authors of drivers.

A driver that passes is a Prism backend::

    from prism.testing import AcceptanceSuite, OpenBackend
    from prism.testing.levels import in_process

    class TestInProcess(AcceptanceSuite):
        @pytest.fixture(scope="class")
        @staticmethod
        def open_backend() -> OpenBackend:
            return in_process(DRIVER)

`prism.testing.levels` reaches a driver in process, over gRPC or through a proxy. It is not
imported here, so that the suite itself depends on the ports alone.
"""

import pytest

# Without this, a failed assertion in the suite would show no values.
pytest.register_assert_rewrite("prism.testing.suite")

from prism.testing.suite import (  # noqa: E402
    AcceptanceSuite,
    Backend,
    BackendServer,
    DriverWrapper,
    Level,
    OpenBackend,
    Wrap,
    group_of,
)

__all__ = [
    "AcceptanceSuite",
    "Backend",
    "BackendServer",
    "DriverWrapper",
    "Level",
    "OpenBackend",
    "Wrap",
    "group_of",
]
