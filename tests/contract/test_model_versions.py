"""New weights need a new version of the detector that asks them: known contents are judged anew for versions only."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.detect.face_forgery import FaceForgery, reads
from pipeline.models.build import HEADS, HEAT, SEAM

FOLDER = Path(__file__).parents[2] / "models" / "face_forgery"

# Add a line with each new set of weights; never change one. Up to 5 there was no network over patches.
WEIGHTS = {
    "2": "c1664ac8dc1d81bccaa4868643bd51b669ca11b1d91340b93876f803e322b3ac",
    "3": "4b6696f3866cc1a455e9481ad3c54be92d93395b87738bdfb0d1e9e2a70a6416",
    "4": "15ddf1c5c049e2a9e4f9ebdf14b6bff7a2bc1f3d85e4fba7ea17b7c5251a4a93",
    "5": "61311a4c9f1b33a085ed4c8cf2f9aae92e7d02bc11d3294260e0a1d9865c6fae",
    "6": "fb75318ddba5b3d91bf8f1148919f29b4888ab822d684d8e89dc5255688074ce",
    "7": "ca9f5b18cfc08d94eb9e2f665209ed6ebbd9c57681b87b21d9db4ce5e019860b",
}


# What a first number's features mean hangs on the network over patches; heads alone raise the number behind the dot.
NETWORKS = {"7": "21293b4db5b7c62cd6d11477e8e5055b659c5f139dd25ebd82c350d876d8d492"}


def test_the_first_number_goes_with_the_network():
    """When this fails, raise the first number of `FaceForgery.version` and add the network's digest here."""
    assert NETWORKS[reads(FaceForgery.version)] == hashlib.sha256((FOLDER / SEAM).read_bytes()).hexdigest()


def test_the_version_of_face_forgery_goes_with_its_heads():
    """When this fails, raise `FaceForgery.version` and add the digest here."""
    files = (*(f"{head}.json" for head in (*HEADS, HEAT)), SEAM)
    found = hashlib.sha256(b"".join((FOLDER / file).read_bytes() for file in files)).hexdigest()
    assert WEIGHTS[FaceForgery.version] == found
