"""A real Prometheus that scrapes what a test or a chaos run starts."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from pipeline.stack.ports import free_ports

_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Series:
    """One line: its labels and its (time, value) pairs. NaN stays NaN."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


Rules = dict[str, Any]
"""A file of rules, as Prometheus reads it."""


def every_two_seconds(rules: Rules) -> Rules:
    """The same rules, evaluated more often: a test has no five minutes."""
    return {"groups": [{**group, "interval": "2s"} for group in rules["groups"]]}


class Prometheus:
    """Debian's. Context manager; scrapes `targets` (job → addresses) every `scrape` seconds, evaluates what lies in
    `rules`, as `play` makes it."""

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, list[str]],
        rules: Path,
        play: Callable[[Rules], Rules] = every_two_seconds,
        scrape: float = 1.0,
    ) -> None:
        program = shutil.which("prometheus")
        assert program, "Prometheus is missing: `make system` installs it"
        folder.mkdir()
        for path in rules.glob("*.yaml"):
            played = play(yaml.safe_load(path.read_text(encoding="utf-8")))
            (folder / f"rules-{path.name}").write_text(yaml.safe_dump(played, allow_unicode=True))
        config = {
            "global": {"scrape_interval": f"{scrape:g}s", "evaluation_interval": "2s"},
            "rule_files": [str(folder / "rules-*.yaml")],
            "scrape_configs": [
                {"job_name": job, "file_sd_configs": [{"files": [str(folder / f"{job}.json")]}]} for job in targets
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._folder = folder
        self.targets(targets)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("wb")
        self._command = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--enable-feature=exemplar-storage",
            f"--web.listen-address=127.0.0.1:{port}",
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)
        end = time.monotonic() + _READY_SECONDS
        while not self._all_up():
            assert self._process.poll() is None, "Prometheus ended; see its log"
            assert time.monotonic() < end, "Prometheus does not reach everything"
            time.sleep(0.3)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def targets(self, targets: Mapping[str, list[str]]) -> None:
        """Scrape these from now on (Prometheus sees it within seconds); the jobs stay those of the beginning."""
        self._jobs = frozenset(job for job, addresses in targets.items() if addresses)
        for job, addresses in targets.items():
            new = self._folder / f"{job}.new"
            new.write_text(json.dumps([{"targets": addresses}]))
            new.replace(self._folder / f"{job}.json")

    def over(self, expr: str, start: float, end: float, step: float = 2.0) -> tuple[Series, ...]:
        """The series of a query over a span of time. Raises AssertionError with what Prometheus says is wrong."""
        asked = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found = self._ask("query_range", asked)["result"]
        return tuple(
            Series(each["metric"], tuple((at, float(value)) for at, value in each["values"])) for each in found
        )

    def now(self, expr: str) -> tuple[Series, ...]:
        """The series of a query now."""
        found = self._ask("query", {"query": expr})["result"]
        return tuple(Series(each["metric"], ((each["value"][0], float(each["value"][1])),)) for each in found)

    def samples(self, selector: str, seconds: float) -> tuple[Series, ...]:
        """What was stored of some series in the last seconds, as it was stored."""
        found = self._ask("query", {"query": f"{selector}[{math.ceil(seconds)}s]"})["result"]
        return tuple(
            Series(each["metric"], tuple((at, float(value)) for at, value in each["values"])) for each in found
        )

    def traces(self, expr: str, start: float, end: float) -> frozenset[str]:
        """The traces that the buckets of a query name."""
        found = self._ask("query_exemplars", {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}"})
        return frozenset(each["labels"]["trace_id"] for series in found for each in series["exemplars"])

    def firing(self) -> frozenset[str]:
        """The names of alerts that are pending or firing."""
        return frozenset(each["labels"]["alertname"] for each in self._ask("alerts", {})["alerts"])

    def failing_rules(self) -> dict[str, str]:
        """Rules that cannot be evaluated, and why."""
        groups = self._ask("rules", {})["groups"]
        return {r["name"]: r["lastError"] for group in groups for r in group["rules"] if r.get("lastError")}

    def rules(self) -> int:
        """How many rules were read."""
        return sum(len(group["rules"]) for group in self._ask("rules", {})["groups"])

    def _all_up(self) -> bool:
        try:
            up = self.now("up")
        except OSError:
            return False
        return {series.labels["job"] for series in up} == self._jobs and all(series.points[0][1] for series in up)

    def _ask(self, what: str, asked: Mapping[str, str]) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise OSError("not ready") from error
            raise AssertionError(f"{asked}: {json.load(error)['error']}") from error
