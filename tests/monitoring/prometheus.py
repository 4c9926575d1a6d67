"""Prometheus from Debian, with the configuration in deploy/ but other targets and intervals."""

from __future__ import annotations

import json
import math
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import yaml

from tests.monitoring.expressions import CONFIGURATION, RULES
from tests.servers.process import TIMEOUT_S, ServerProcess

_INTERVAL = "500ms"


class Sample(NamedTuple):
    labels: dict[str, str]
    value: float


class Prometheus(ServerProcess):
    """Prometheus that scrapes and evaluates rules twice a second.

    Args:
        targets: addresses of metrics.
    """

    name = "prometheus"

    def __init__(self, targets: Sequence[str]) -> None:
        super().__init__()
        self._targets = list(targets)

    def command(self) -> Sequence[str]:
        configuration = yaml.safe_load(CONFIGURATION.read_text())
        configuration["global"] = {"scrape_interval": _INTERVAL, "evaluation_interval": _INTERVAL}
        configuration["rule_files"] = [str(RULES)]
        (job,) = configuration["scrape_configs"]
        job["static_configs"] = [{"targets": self._targets}]
        path = self.folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(configuration))
        program = shutil.which("prometheus")
        assert program is not None, (
            "prometheus is missing: on Debian, 'sudo apt install prometheus' installs it"
        )
        return [
            program,
            f"--config.file={path}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=TIMEOUT_S) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def ask(self, expression: str) -> list[Sample]:
        """Return the samples of an instant query; a scalar is a sample without labels.

        Raises:
            AssertionError: Prometheus cannot parse or evaluate the expression.
        """
        data = self._get("query", {"query": expression})
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def number(self, expression: str) -> float:
        """Return the only sample of a query; NaN: there is none."""
        samples = self.ask(expression)
        assert len(samples) < 2, f"{expression} has {len(samples)} results"
        return samples[0].value if samples else math.nan

    def series(self, selector: str) -> list[dict[str, str]]:
        """Return the labels of every series, including the metric's name as `__name__`."""
        found: list[dict[str, str]] = self._get("series", {"match[]": selector})
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _get(self, what: str, query: Mapping[str, str]) -> Any:
        url = f"{self._url}/api/v1/{what}?{urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {json.load(error)['error']}") from None
