"""Images without a daemon: buildah builds them, and what they hold runs as a cluster would run it.

That is: as the image's user, without capabilities, on a root that cannot be written, with a home and a /tmp in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUITE, PYTHON = "bookworm", "3.11"
"""The Debian of the base, and its Python: wheels are fetched for that one, whichever runs the tests."""
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)] + ["manylinux2014_x86_64"]
"""What the C library of that Debian (2.36) can load."""
PATIENCE = 300.0
"""Seconds for a command in an image, or for its start: on a machine that is busy with something else."""
_CONFINED = """
set -eu
mount --make-rprivate /
mount --bind "$IMAGE" "$IMAGE"
mount --rbind /dev "$IMAGE/dev"
mount -t proc proc "$IMAGE/proc"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$IMAGE/tmp"
mount -t tmpfs -o size=256m,mode=0750,uid=10001,gid=10001 tmpfs "$IMAGE/var/lib/unmask"
mount -o remount,bind,ro "$IMAGE"
for pair in $MOUNTS; do mount --bind "${pair%%:*}" "$IMAGE${pair#*:}"; done
exec chroot "$IMAGE" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all --inh-caps=-all \
  --no-new-privs /usr/bin/env -i -C /var/lib/unmask "$@"
"""


def obstacle(folder: Path) -> str:
    """Why images can be neither built below this folder nor run, here; empty: they can."""
    if os.geteuid() != 0:
        return "root is needed"
    for program in ("buildah", "mmdebstrap", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is missing; `make images` installs it where apt-get can"
    with tempfile.TemporaryDirectory(dir=folder) as tried:
        overlay = (
            'cd "$1" && mkdir lower upper work merged && mount --make-rprivate / && mount -t proc proc /proc && '
            "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged"
        )
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-c", overlay, "sh", tried],
            capture_output=True,
            text=True,
            check=False,
        )
    return f"no mounts in namespaces, or no overlay in {folder}: {done.stderr.strip()}" if done.returncode else ""


def base(home: Path) -> Path:
    """The files of a small Debian with Python, in an archive that is kept between runs."""
    made = home / "images" / f"{SUITE}.tar"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        making = made.with_name(f".{os.getpid()}-{made.name}")
        packages = "--include=ca-certificates,python3,python3-venv"
        subprocess.run(["mmdebstrap", "--variant=minbase", packages, SUITE, str(making)], check=True)
        making.rename(made)
    return made


def wheels(home: Path) -> Path:
    """Every wheel that the images need, kept between runs and fetched again when the lock changes."""
    folder = home / "images" / "wheels"
    files = [ROOT / "docker" / "console.txt", ROOT / ".lock" / "bootstrap.txt"]
    of = hashlib.sha256(b"".join([PYTHON.encode(), *(path.read_bytes() for path in files)])).hexdigest()
    mark = folder / ".of"
    if not mark.exists() or mark.read_text(encoding="utf-8").strip() != of:
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        fetch += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
        fetch += [f"--platform={each}" for each in _PLATFORMS]
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            subprocess.run([*fetch, "--require-hashes", "-r", str(path), "-d", str(folder)], check=True)
        mark.write_text(of, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Image:
    """An image whose files lie in `files`; `config` is what its makers said of it. `mounts`: folders of this machine
    that it sees when it runs, by the folder of the image."""

    files: Path
    config: dict[str, Any]
    mounts: Mapping[str, Path] = field(default_factory=dict)

    @contextmanager
    def running(self, *arguments: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The entry point with these arguments, or the image's own; ended with SIGTERM unless it ended before."""
        command = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        with log.open("wb") as out:
            process = self._begin(command, env, out)
            try:
                yield process
            finally:
                if process.poll() is None:
                    self.end(process)

    def run(self, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Any command in the image, confined, to its end."""
        process = self._begin([*command], env or {}, subprocess.PIPE)
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, process.returncode, out)

    def end(self, process: subprocess.Popen[bytes], seconds: float = PATIENCE) -> int:
        """SIGTERM to what runs in the image; its exit status."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
        with suppress(ProcessLookupError):
            for child in children:
                os.kill(int(child), signal.SIGTERM)
        try:
            return process.wait(seconds)
        finally:
            process.kill()

    def _begin(self, command: list[str], env: dict[str, str], out: Any) -> subprocess.Popen[bytes]:
        mounts = " ".join(f"{source}:{target}" for target, source in self.mounts.items())
        pairs = [*self.config["Env"], *(f"{name}={value}" for name, value in env.items())]
        return subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _CONFINED, "sh", *pairs, *command],
            env={"PATH": os.environ["PATH"], "IMAGE": str(self.files), "MOUNTS": mounts},
            stdout=out,
            stderr=subprocess.STDOUT,
        )


class Builder:
    """buildah with a store of its own in `folder`. `close()` empties it."""

    def __init__(self, folder: Path) -> None:
        self._store = folder / "store"
        self._buildah = ["buildah", "--root", str(self._store), "--runroot", str(folder / "run")]

    def __call__(self, *arguments: str) -> str:
        done = self._run(*arguments)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._buildah, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)

    def take(self, name: str, files: Path) -> str:
        """Make an image of an archive; its name with its digest."""
        container = self("from", "scratch")
        self("add", "--quiet", container, str(files), "/")
        self("commit", "--quiet", "--rm", container, name)
        digest = json.loads(self("inspect", "--type", "image", name))["FromImageDigest"]
        return f"localhost/{name}@{digest}"

    def tried(self, target: str, base_image: str, wheelhouse: Path, *more: str) -> subprocess.CompletedProcess[str]:
        """Build a target of docker/Dockerfile from these wheels alone."""
        return self._run(
            *("build", "--isolation", "chroot", "--pull-never", "--layers", "--format", "docker", "--target", target),
            *("--file", "docker/Dockerfile", "--ignorefile", "docker/Dockerfile.dockerignore"),
            *("--build-arg", f"BASE={base_image}", "--build-arg", "WHEELS=/wheels", *more),
            *("--volume", f"{wheelhouse}:/wheels:ro", "--tag", f"unmask-{target}", "."),
        )

    def build(self, target: str, base_image: str, wheelhouse: Path) -> Image:
        """The same, which has to succeed; its files are laid out."""
        done = self.tried(target, base_image, wheelhouse)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        name = f"localhost/unmask-{target}"
        config = json.loads(self("inspect", "--type", "image", name))["Docker"]["config"]
        return Image(Path(self("mount", self("from", "--pull-never", name))), config)

    def close(self) -> None:
        """Remove everything, also the mount under which buildah keeps what it mounts."""
        self("rm", "--all")
        self("rmi", "--all", "--force")
        for mounted in self._store.glob("*"):
            if os.path.ismount(mounted):
                subprocess.run(["umount", str(mounted)], check=True)
