"""Requests that failed lately."""

from __future__ import annotations

import time
from collections.abc import Iterable

from google.rpc import code_pb2

from prism.adapters.observability.page import texts
from prism.adapters.observability.page.history.failures import KEPT, Failure
from prism.adapters.observability.page.values import Column, Section, Table


def recent_errors(failures: Iterable[Failure]) -> Section:
    """Each kind with its message, which the log keeps to itself when it is a caller's fault."""
    now = time.time()
    table = Table(
        caption=f"The last {KEPT} kinds of failure, the latest first",
        columns=(
            ("Last time (UTC)", Column.MOMENT),
            ("Method", Column.NAME),
            ("Code", Column.NAME),
            ("Times", Column.NUMBER),
            ("Message", Column.VERBATIM),
        ),
        rows=[
            (
                texts.moment(failure.last, now),
                failure.path.rpartition(".")[2],
                code_pb2.Code.Name(failure.code),
                f"{failure.times:,}",
                failure.message,
            )
            for failure in failures
        ],
        empty="No request has failed since the start.",
    )
    return Section([table], "A message may quote what a caller sent." if table.rows else "")
