"""The images of worker and console are built, and run confined as a cluster would confine them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.events import OutcomeStatus
from pipeline.events.values import Action
from pipeline.models.samples import sample_photographs
from pipeline.stack.ports import free_ports
from tests.images.image import PATIENCE, Builder, Image, base, obstacle, wheels
from tests.postgres import running_postgres
from tests.stacks import MODELS, PARTITIONS, platform_on, stack_options

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Built:
    """Both images, and what they were made of."""

    worker: Image
    console: Image
    builder: Builder
    base: str
    wheels: Path


@pytest.fixture(scope="module")
def built(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The console goes on where the worker ends, so the worker is there when the console is."""
    folder = tmp_path_factory.mktemp("images")
    if why := obstacle(folder):
        pytest.fail(f"images can be neither built nor run here: {why}")
    builder = Builder(folder)
    try:
        named, wheelhouse = builder.take("base", base(home)), wheels(home)
        console = builder.build("console", named, wheelhouse)
        yield Built(builder.build("worker", named, wheelhouse), console, builder, named, wheelhouse)
    finally:
        builder.close()


@pytest.fixture
def images(built: Built) -> dict[str, Image]:
    return {"worker": built.worker, "console": built.console}


def until_answered(url: str, process: subprocess.Popen[bytes], log: Path) -> bytes:
    """The body, once there is one and all is well."""
    end = time.monotonic() + PATIENCE
    said = "nothing"
    while True:
        assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
        except OSError as error:
            said = repr(error)
        assert time.monotonic() < end, f"{said}\n{log.read_text(encoding='utf-8')[-3000:]}"
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


def test_a_base_that_may_change_is_refused(built: Built) -> None:
    """A base that is not named by its digest stops the build, unless that is asked for."""
    floating = built.base.split("@")[0]
    refused = built.builder.tried("named", floating, built.wheels)
    assert refused.returncode != 0
    assert "name it by its digest" in refused.stdout + refused.stderr
    asked = built.builder.tried("named", floating, built.wheels, "--build-arg", "ALLOW_FLOATING=1")
    assert asked.returncode == 0, asked.stderr


def test_an_upload_is_screened_by_what_was_built(images: dict[str, Image], home: Path, tmp_path: Path) -> None:
    """Worker, relay and console run confined on one PostgreSQL, beside a broker and a real inference server: an upload
    gets its outcome, the console serves its pages, all are ready, and all end well at a signal."""
    photo, *_ = sample_photographs(home, MODELS)
    with running_postgres() as postgres, platform_on(stack_options(home, tmp_path, workers=0)) as platform:
        shutil.copy(photo.path, platform.media / "photo.jpg")
        sockets = Path(parse_qs(urlsplit(postgres.url).query)["host"][0])
        for folder in (sockets, platform.media):
            folder.chmod(0o755)
        mounts = {"/media": platform.media, "/srv": sockets}
        worker, console = (replace(image, mounts=mounts) for image in (images["worker"], images["console"]))
        work, relay, pages, watched = free_ports(4)
        env = {
            "UNMASK_KAFKA_BOOTSTRAP_SERVERS": platform.stack.bootstrap_servers,
            "UNMASK_KAFKA_IDEMPOTENCE": "false",
            "UNMASK_KAFKA_PARTITIONS": str(PARTITIONS),
            "UNMASK_TRITON_URL": platform.stack.triton_url,
            "UNMASK_DATABASE_URL": "postgresql+psycopg://postgres@/postgres?host=/srv",
            "UNMASK_FETCH_SCHEMES": "file",
            "UNMASK_FETCH_ROOTS": "/media",
            "UNMASK_HTTP_HOST": "127.0.0.1",
            "UNMASK_CONSOLE_HOST": "127.0.0.1",
            "UNMASK_CONSOLE_PORT": str(pages),
            "UNMASK_CONSOLE_METRICS_PORT": str(watched),
            "UNMASK_CONSOLE_RELAY": "false",
            "UNMASK_CONSOLE_SECRET": token_urlsafe(32),
        }
        for first in (("ledger", "migrate"), ("topics", "apply")):
            done = worker.run("unmask", *first, env=env)
            assert done.returncode == 0, done.stdout.decode()
        logs = {name: tmp_path / f"{name}.log" for name in ("worker", "relay", "console")}
        with (
            worker.running(env=env | {"UNMASK_HTTP_PORT": str(work)}, log=logs["worker"]) as working,
            worker.running("relay", env=env | {"UNMASK_HTTP_PORT": str(relay)}, log=logs["relay"]) as relaying,
            console.running(env=env, log=logs["console"]) as serving,
        ):
            for port, process, log in (
                (work, working, logs["worker"]),
                (relay, relaying, logs["relay"]),
                (pages, serving, logs["console"]),
            ):
                until_answered(f"http://127.0.0.1:{port}/livez", process, log)
                until_answered(f"http://127.0.0.1:{port}/readyz", process, log)
            outcome = platform.outcome(platform.upload(Path("/media/photo.jpg")))
            assert (outcome.action, outcome.status) == (Action.ALLOW, OutcomeStatus.FINAL)
            counted = until_answered(f"http://127.0.0.1:{work}/metrics", working, logs["worker"])
            assert b'unmask_items_total{agent="screen",result="ok"} 1.0' in counted
            assert b"Unmask" in until_answered(f"http://127.0.0.1:{pages}/sign-in", serving, logs["console"])
            for port, process, log in ((relay, relaying, logs["relay"]), (watched, serving, logs["console"])):
                assert b'unmask_outbox_records{state="due"} 0.0' in until_answered(
                    f"http://127.0.0.1:{port}/metrics", process, log
                )
            for process, image, log in (
                (working, worker, logs["worker"]),
                (relaying, worker, logs["relay"]),
                (serving, console, logs["console"]),
            ):
                assert image.end(process) == 0, log.read_text(encoding="utf-8")[-3000:]
