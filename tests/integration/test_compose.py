"""The compose file fits its schema and publishes on the loopback interface alone; Prometheus reads its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
CHECKER = "check-jsonschema==0.39.0"


@pytest.fixture(scope="module")
def checker(home: Path) -> Path:
    """check-jsonschema in an environment of its own: it wants another release of a library than the rest."""
    folder = home / "checkers" / CHECKER
    program = folder / "bin" / "check-jsonschema"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", CHECKER]
        subprocess.run(install, check=True)
    return program


def fits(checker: Path, path: Path) -> bool:
    check = [str(checker), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(check, check=False, capture_output=True).returncode == 0


def test_schema(checker: Path, tmp_path: Path) -> None:
    """It is a compose file; with a misspelt key it would be none."""
    compose = DOCKER / "compose.yaml"
    assert fits(checker, compose)
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(compose.read_text(encoding="utf-8").replace("stop_grace_period", "stop_grace_perod"), "utf-8")
    assert not fits(checker, wrong)


def test_published_on_loopback() -> None:
    """No port is open to other machines."""
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_and_alertmanager_read_their_files(tmp_path: Path) -> None:
    """promtool and amtool accept them, with the rules of dashboards/."""
    rules = DOCKER.parent / "dashboards" / "rules"
    text = (DOCKER / "observability/prometheus.yaml").read_text(encoding="utf-8")
    config = tmp_path / "prometheus.yaml"
    config.write_text(text.replace("/etc/prometheus/rules", str(rules)), encoding="utf-8")
    subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)
    subprocess.run(
        ["amtool", "check-config", str(DOCKER / "observability/alertmanager.yaml")], check=True, capture_output=True
    )
