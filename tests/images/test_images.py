"""The images of worker and console are built, and run confined as a cluster would confine them."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.stack.embedded_broker import EmbeddedBroker
from pipeline.stack.ports import free_ports
from tests.images.image import Builder, Image, base, wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def images(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    """Both images; their store is emptied at the end."""
    builder = Builder(tmp_path_factory.mktemp("images"))
    builder.take("base", base(home))
    yield {target: builder.build(target, "localhost/base", wheels(home)) for target in ("worker", "console")}
    builder("rm", "--all")
    builder("rmi", "--all", "--force")


def env_for(broker: EmbeddedBroker) -> dict[str, str]:
    """Settings that reach the broker; the database is an SQLite file in the image's home."""
    return {
        "UNMASK_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "UNMASK_KAFKA_IDEMPOTENCE": "false",
        "UNMASK_TRITON_URL": "127.0.0.1:1",
    }


def answer(url: str, process: subprocess.Popen[bytes], log: Path) -> tuple[int, bytes]:
    """Status and body, once something answers."""
    end = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            assert time.monotonic() < end, log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.3)


@pytest.mark.parametrize("name", ["worker", "console"])
def test_what_an_image_says_of_itself(images: dict[str, Image], name: str) -> None:
    """It runs as a numbered user, has a health check, labels, and a bill of materials of all that is in it."""
    image = images[name]
    assert image.config["User"] == "10001:10001"
    assert image.config["Healthcheck"]["Test"][0] == "CMD"
    assert image.config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    bill = json.loads((image.files / "usr/share/unmask/sbom.cdx.json").read_text(encoding="utf-8"))
    parts = {each["purl"].split("?")[0].split("@")[0] for each in bill["components"]}
    assert {"pkg:pypi/unmask", "pkg:pypi/av", "pkg:deb/debian/libc6"} <= parts
    assert ("pkg:pypi/uvicorn" in parts) is (name == "console")
    assert not {"pkg:pypi/pytest", "pkg:pypi/onnxruntime", "pkg:pypi/pip"} & parts


@pytest.mark.parametrize("name", ["worker", "console"])
def test_nothing_can_be_written(images: dict[str, Image], name: str) -> None:
    """The image's own files cannot be changed by what runs in it, its home can; and it has no capability."""
    image = images[name]
    assert image.run("touch", "/opt/unmask/x").returncode != 0
    assert image.run("touch", "/var/lib/unmask/x", "/tmp/x").returncode == 0
    status = image.run("cat", "/proc/self/status").stdout.decode()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_a_worker_runs(images: dict[str, Image], embedded_broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Topics are made; the worker is alive and misses the inference server alone; a signal ends it well."""
    image = images["worker"]
    (port,) = free_ports(1)
    env = {**env_for(embedded_broker), "UNMASK_HTTP_HOST": "127.0.0.1", "UNMASK_HTTP_PORT": str(port)}
    made = image.run("unmask", "topics", "apply", env=env)
    assert made.returncode == 0, made.stdout.decode()
    log = tmp_path / "worker.log"
    with image.running(env=env, log=log) as process:
        assert answer(f"http://127.0.0.1:{port}/livez", process, log)[0] == 200
        status, body = answer(f"http://127.0.0.1:{port}/readyz", process, log)
        checks = json.loads(body)["checks"]
        assert status == 503
        assert {name for name, said in checks.items() if said != "ok"} == {"triton"}, checks
        assert b"unmask_build_info" in answer(f"http://127.0.0.1:{port}/metrics", process, log)[1]
        assert image.end(process) == 0, log.read_text(encoding="utf-8")[-3000:]


def test_a_console_runs(images: dict[str, Image], embedded_broker: EmbeddedBroker, tmp_path: Path) -> None:
    """The console makes its tables, is ready, serves its pages, and ends at a signal."""
    image = images["console"]
    port, metrics = free_ports(2)
    env = env_for(embedded_broker) | {
        "UNMASK_CONSOLE_HOST": "127.0.0.1",
        "UNMASK_CONSOLE_PORT": str(port),
        "UNMASK_CONSOLE_METRICS_PORT": str(metrics),
        "UNMASK_CONSOLE_SECRET": "kq8ZtV3mYw1RxN6cPd0LbS7uHf4JgE2a",
    }
    log = tmp_path / "console.log"
    with image.running(env=env, log=log) as process:
        assert answer(f"http://127.0.0.1:{port}/readyz", process, log)[0] == 200
        assert b"Unmask" in answer(f"http://127.0.0.1:{port}/sign-in", process, log)[1]
        assert answer(f"http://127.0.0.1:{metrics}/metrics", process, log)[0] == 200
        assert image.end(process) == 0, log.read_text(encoding="utf-8")[-3000:]
