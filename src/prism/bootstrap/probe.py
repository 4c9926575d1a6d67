"""Asks the server of a container whether it is alive: `python -m prism.bootstrap.probe`.

It reads the variables that place the HTTP port, asks `/health` there, which never asks the
backend, and exits with status 0 if the answer is 200, else with 1 and one line about the reason.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

_DEFAULT_PORT = 9091

_TIMEOUT_S = 2.0

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104


def address_in(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return host and port of the HTTP endpoints, as variables set them.

    A port that is not a number means the default, as for the server: Kubernetes sets
    PRISM_METRICS_PORT=tcp://10.0.0.5:9091 for a Service of that name.
    """
    host = environ.get("PRISM_METRICS_HOST") or environ.get("PRISM_HOST") or "127.0.0.1"
    port = environ.get("PRISM_METRICS_PORT", "")
    number = int(port) if port.isascii() and port.isdigit() else _DEFAULT_PORT
    return _EVERY_ADDRESS.get(host, host), number


def problem_at(host: str, port: int) -> str:
    """Return why the server is not alive; empty: it is."""
    connection = HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"no answer from http://{host}:{port}/health: {error}"
    finally:
        connection.close()
    return "" if status == 200 else f"http://{host}:{port}/health answers with status {status}"


if __name__ == "__main__":
    problem = problem_at(*address_in(os.environ))
    if problem:
        sys.stderr.write(f"prism: {problem}\n")
    sys.exit(bool(problem))
