"""Content Credentials: four states, in words, of files that are signed here on the spot."""

from __future__ import annotations

import io

import pytest

from pipeline.demo.credentials import GENERATED, authority, signed
from pipeline.events.values import CredentialState
from pipeline.provenance.content_credentials import identity, interpreted, read_credentials
from tests.identity import named
from tests.media import photograph


@pytest.fixture(scope="module")
def files():
    maker = authority()
    return maker, signed(photograph(), maker, [GENERATED])


def read(data: bytes, anchors: str | None = None, identities: str | None = None):
    return read_credentials(io.BytesIO(data), "image/jpeg", anchors, identities)


def test_a_file_without_any():
    """Most files have none."""
    assert read(photograph()).state is CredentialState.ABSENT


def test_intact_and_vouched_for_by_nobody(files):
    """Intact credentials are untrusted as long as no anchor vouches for the signer."""
    _, data = files
    found = read(data)
    assert found.state is CredentialState.UNTRUSTED
    assert found.codes == ("signingCredential.untrusted",)
    assert (found.issuer, found.generator) == ("Test Camera Works", "Test Camera 1.0")


def test_trusted(files):
    """With the signer's authority among the anchors they are trusted, and say what was done."""
    maker, data = files
    found = read(data, maker.root)
    assert (found.state, found.codes) == (CredentialState.TRUSTED, ())
    assert found.actions == ("created (trainedAlgorithmicMedia) with A Generator 2",)
    assert found.source_types == ("trainedAlgorithmicMedia",)


def test_somebody_elses_authority_does_not_vouch(files):
    """Another root is another root, whatever its name."""
    assert read(files[1], authority().root).state is CredentialState.UNTRUSTED


def test_changed_after_signing(files):
    """One flipped bit of the picture, and the data hash no longer fits."""
    maker, data = files
    changed = bytearray(data)
    changed[-2000] ^= 1
    found = read(bytes(changed), maker.root)
    assert found.state is CredentialState.INVALID
    assert "assertion.dataHash.mismatch" in found.codes


def test_a_verified_identity_is_named():
    """Where an anchor for identities vouches for it; without one nobody is, and the credentials are what they were."""
    maker, person = authority(), authority()
    data = named(photograph(), maker, person)
    found = read(data, maker.root, person.root)
    assert (found.state, found.identity) == (CredentialState.TRUSTED, "Test Camera")
    unknown = read(data, maker.root)
    assert (unknown.state, unknown.identity) == (CredentialState.TRUSTED, None)
    assert unknown.codes == ("cawg.x509.credential.untrusted",)


def test_who_vouches_for_cameras_does_not_vouch_for_people():
    """The lists are apart, both ways; an identity can be verified where nobody vouches for the camera."""
    maker, person = authority(), authority()
    data = named(photograph(), maker, person)
    swapped = read(data, person.root, maker.root)
    assert (swapped.state, swapped.identity) == (CredentialState.UNTRUSTED, None)
    untrusted = read(data, None, person.root)
    assert (untrusted.state, untrusted.identity) == (CredentialState.UNTRUSTED, "Test Camera")


def test_an_identity_is_bound_to_its_content():
    """A picture that was changed after signing names nobody."""
    maker, person = authority(), authority()
    changed = bytearray(named(photograph(), maker, person))
    changed[-2000] ^= 1
    found = read(bytes(changed), maker.root, person.root)
    assert (found.state, found.identity) == (CredentialState.INVALID, None)


@pytest.mark.parametrize("missing", ["cawg.identity.well-formed", "cawg.x509.signature.validated", "trusted"])
def test_every_part_of_an_identity_must_hold(missing):
    """And for that very assertion: what holds for another one is nothing."""
    codes = ["cawg.identity.well-formed", "cawg.x509.signature.validated", "cawg.x509.credential.trusted"]
    at = "self#jumbf=/c2pa/m/c2pa.assertions/cawg.identity"

    def found(mine, others):
        data = {"signature_info": {"common_name": "Somebody"}}
        success = [{"code": code, "url": at} for code in mine] + [{"code": code, "url": at + "__2"} for code in others]
        return identity(
            {
                "active_manifest": "m",
                "manifests": {"m": {"assertions": [{"label": "cawg.identity", "data": data}]}},
                "validation_results": {"activeManifest": {"success": success}},
            }
        )

    assert found(codes, []) == "Somebody"
    assert found([code for code in codes if not code.endswith(missing)], codes) is None


def test_a_mention_is_no_manifest():
    """A file that merely holds the letters has no credentials."""
    assert read(photograph() + b"c2pa").state is CredentialState.ABSENT


def test_a_store_that_cannot_be_read(files):
    """A torn manifest is invalid, with the library's word for it, and never an exception."""
    _, data = files
    at = data.index(b"c2pa")
    found = read(data[:at] + bytes(200) + data[at + 200 :])
    assert found.state in (CredentialState.INVALID, CredentialState.ABSENT)


@pytest.mark.parametrize(
    ("store", "state"),
    [
        ({}, CredentialState.UNTRUSTED),
        ({"validation_state": "Trusted"}, CredentialState.TRUSTED),
        ({"validation_state": "Invalid"}, CredentialState.INVALID),
        ({"validation_status": [{"code": "claimSignature.mismatch"}]}, CredentialState.INVALID),
        (
            {"validation_state": "Valid", "validation_status": [{"code": "signingCredential.expired"}]},
            CredentialState.UNTRUSTED,
        ),
    ],
)
def test_states(store, state):
    """Only what the library calls trusted, without a failure, is trusted; an expired signer is not broken."""
    assert interpreted(store).state is state


def test_a_strangers_words_are_bounded():
    """Control characters go, endless text is cut, endless lists end."""
    action = {"action": "evil\x00" * 99, "softwareAgent": "x" * 9999}
    manifest = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action] * 999}}]}
    found = interpreted({"active_manifest": "m", "manifests": {"m": manifest}})
    assert len(found.actions) == 24
    assert all(len(told) < 300 and "\x00" not in told for told in found.actions)
