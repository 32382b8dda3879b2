"""Content Credentials are read by the enclosed decoder, with the deployment's trust anchors."""

from __future__ import annotations

import pytest

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.demo.credentials import GENERATED, authority, signed
from pipeline.events.values import CredentialState
from tests.identity import named
from tests.media import photograph


@pytest.mark.parametrize(("trusting", "state"), [(True, CredentialState.TRUSTED), (False, CredentialState.UNTRUSTED)])
async def test_credentials_are_read_inside_the_sandbox(tmp_path, trusting, state):
    """The child that may open nothing and start nothing still verifies a signature."""
    maker = authority()
    (tmp_path / "root.pem").write_text(maker.root)
    (tmp_path / "signed.jpg").write_bytes(signed(photograph(), maker, [GENERATED]))
    (tmp_path / "plain.jpg").write_bytes(photograph())
    anchors = str(tmp_path / "root.pem") if trusting else None
    async with DecodePool(1, DecodeBudget(trust_anchors=anchors)) as decode:
        found = (await decode(tmp_path / "signed.jpg")).facts
        assert found.credentials is not None
        assert found.credentials.state is state
        assert found.credentials.source_types == ("trainedAlgorithmicMedia",)
        assert len(found.quantization) == 2
        plain = (await decode(tmp_path / "plain.jpg")).facts.credentials
        assert plain is not None
        assert plain.state is CredentialState.ABSENT


async def test_identities_are_read_inside_the_sandbox(tmp_path):
    """With anchors of their own, which the child is given as text."""
    maker, person = authority(), authority()
    (tmp_path / "root.pem").write_text(maker.root)
    (tmp_path / "people.pem").write_text(person.root)
    (tmp_path / "named.jpg").write_bytes(named(photograph(), maker, person))
    budget = DecodeBudget(trust_anchors=str(tmp_path / "root.pem"), identity_anchors=str(tmp_path / "people.pem"))
    async with DecodePool(1, budget) as decode:
        found = (await decode(tmp_path / "named.jpg")).facts.credentials
    assert found is not None
    assert (found.state, found.identity) == (CredentialState.TRUSTED, "Test Camera")
