"""What surrounds the Triton server: its archive, its backends, its libpython, its shared memory."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from pipeline.stack import triton
from pipeline.stack.process import PartMissing

SERVER = "pytriton/tritonserver"
STUB = f"{SERVER}/python_backend_stubs/3.{{}}/triton_python_backend_stub"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """An archive with the layout of the real wheel."""
    archive = tmp_path / "nvidia_pytriton-0.7.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as zipped:
        for name in (
            f"{SERVER}/bin/tritonserver",
            f"{SERVER}/backends/python/libtriton_python.so",
            f"{SERVER}/backends/python/triton_python_backend_utils.py",
            *(STUB.format(minor) for minor in (8, 11, 12, 13)),
            "nvidia_pytriton.libs/libtritonserver.so",
            "pytriton/triton.py",
        ):
            zipped.writestr(name, name)
    return archive


@pytest.fixture
def unpacked(wheel: Path, tmp_path: Path) -> Path:
    triton.unpack(wheel, tmp_path / "root")
    return tmp_path / "root"


def test_the_server_is_taken_out_of_the_wheel_and_its_python_package_is_left(unpacked):
    """Only what serves is unpacked, for the Pythons that are supported, and what is run is executable."""
    files = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    assert f"{SERVER}/bin/tritonserver" in files
    assert "nvidia_pytriton.libs/libtritonserver.so" in files
    assert {STUB.format(11), STUB.format(12), STUB.format(13)} < files
    assert "pytriton/triton.py" not in files
    assert STUB.format(8) not in files
    assert os.access(unpacked / SERVER / "bin/tritonserver", os.X_OK)
    assert os.access(unpacked / STUB.format(11), os.X_OK)


def test_backends_are_copies_beside_each_other(unpacked):
    """The python backend, the stub of this Python and the project's backend are plain files in one directory tree."""
    backends = triton.lay_out_backends(unpacked, (3, 12))
    assert (backends / "python/triton_python_backend_stub").read_text() == STUB.format(12)
    assert (backends / "onnxruntime/model.py").read_bytes() == triton.BACKEND.read_bytes()
    assert not any(file.is_symlink() for file in backends.rglob("*"))
    assert os.access(backends / "python/triton_python_backend_stub", os.X_OK)


def test_another_version_of_the_backend_gets_a_directory_of_its_own(unpacked, tmp_path, monkeypatch):
    """A running server keeps the backend that it was started with."""
    first = triton.lay_out_backends(unpacked, (3, 11))
    changed = tmp_path / "model.py"
    changed.write_text("# another")
    monkeypatch.setattr(triton, "BACKEND", changed)
    second = triton.lay_out_backends(unpacked, (3, 11))
    assert first != second
    assert (second / "onnxruntime/model.py").read_text() == "# another"


def test_a_python_without_a_stub_is_refused(unpacked):
    """The error says which Pythons can serve models."""
    with pytest.raises(PartMissing, match=r"3\.11 to 3\.13 only, this is 3\.14"):
        triton.lay_out_backends(unpacked, (3, 14))


def test_an_archive_with_another_hash_is_not_used(wheel, tmp_path, monkeypatch):
    """A download that is not the pinned file is refused, and nothing is unpacked."""

    def download(command, **_settings):
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir(parents=True)
        wheel.rename(folder / wheel.name)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(triton.subprocess, "run", download)
    with pytest.raises(PartMissing, match=r"expected 21f063ff.*not used"):
        triton.fetch(tmp_path / "home")
    assert [file.name for file in (tmp_path / "home").glob("nvidia*")] == []


def test_a_failed_download_says_what_pip_said(tmp_path, monkeypatch):
    """pip's words are in the error."""
    monkeypatch.setattr(
        triton.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no network")
    )
    with pytest.raises(PartMissing, match="no network"):
        triton.fetch(tmp_path)


def test_a_missing_libpython_is_named_with_how_to_install_it(monkeypatch):
    """The stub's library is looked for before the server is started, since Triton's own error says nothing."""
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    with pytest.raises(PartMissing, match=r"libpython3\.11\.so\.1\.0.*apt-get install libpython3\.11"):
        triton.libpython_directory((3, 11))


def test_the_wheel_brings_the_libpython_of_3_13():
    """Nothing is looked for then."""
    assert triton.libpython_directory((3, 13)) is None


def test_shared_memory_of_ended_programs_is_removed_and_of_running_ones_kept(tmp_path, monkeypatch):
    """What a killed program's server has left goes; the files of a program that runs, and of others, stay."""
    ended = subprocess.Popen((sys.executable, "-c", ""))
    ended.wait()
    names = [f"unmask_{ended.pid}_20000_a", f"unmask_{os.getpid()}_20000_b", "unmask_x_y_z", "triton_python_backend_c"]
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(triton, "SHARED_MEMORY", tmp_path)
    triton.remove_abandoned_shared_memory()
    assert {file.name for file in tmp_path.iterdir()} == set(names[1:])


def test_a_child_that_has_ended_is_not_alive():
    """A zombie, which is what a dead model instance stays under its server, does not count."""
    child = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"))
    assert child.pid in triton.live_children(os.getpid())
    child.kill()
    deadline = time.monotonic() + 30
    while child.pid in triton.live_children(os.getpid()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.wait()
