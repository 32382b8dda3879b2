"""What signed credentials and metadata say of synthesis, and where they contradict each other. Needs no model.

A trusted or intact assertion of generation is a strong claim; a contradiction is a weak hint; absence says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.detect.port import ModelSpec, Probe, Score, Tensors, View
from pipeline.events.values import Credentials, CredentialState, Family, MediaFacts
from pipeline.provenance.contradictions import SYNTHETIC_TYPES, contradictions


@dataclass(frozen=True, slots=True)
class Provenance:
    """Reads the facts that the decoder found. Not applicable without credentials and without contradictions.

    Args:
        asserted: score of an assertion of synthesis by trusted credentials.
        untrusted: the same by credentials that nobody vouches for, or that are broken: anybody could have written them.
        contradicted: score of metadata that contradict each other.
    """

    asserted: float = 0.98
    untrusted: float = 0.8
    contradicted: float = 0.3

    name: ClassVar[str] = "provenance"
    version: ClassVar[str] = "1"
    families: ClassVar[tuple[Family, ...]] = (Family.PROVENANCE,)
    needs_faces: ClassVar[bool] = False
    closer: ClassVar[bool] = False
    model: ClassVar[ModelSpec | None] = None

    def prepare(self, view: View) -> Sequence[Probe]:
        """One probe that carries what there is to say, n × 2: score, words."""
        told = self._told(view.clip.facts)
        if not told:
            return []
        table = np.empty((len(told), 2), dtype=object)
        table[:] = told
        return [Probe({"claims": table})]

    def interpret(self, probe: Probe, outputs: Tensors) -> Sequence[Score]:  # noqa: ARG002 - claims have no place
        """A score per claim."""
        return [Score(Family.PROVENANCE, float(score), note=str(note)) for score, note in outputs["claims"]]

    def _told(self, facts: MediaFacts) -> list[tuple[float, str]]:
        held = facts.credentials
        told = [(self.contradicted, note) for note in contradictions(facts)]
        if held is None or held.state is CredentialState.ABSENT:
            return told
        claims = sorted(SYNTHETIC_TYPES & set(held.source_types))
        if claims:
            score = self.asserted if held.state is CredentialState.TRUSTED else self.untrusted
            told.append(
                (score, f"{_who(held)} says {', '.join(claims)}: {'; '.join(held.actions[:3]) or 'no actions'}")
            )
        if not claims:
            told.append((0.0, f"{_who(held)} says nothing of synthesis"))
        return sorted(told, key=lambda claim: -claim[0])


def _who(held: Credentials) -> str:
    who = held.issuer or "an unnamed signer"
    return {
        CredentialState.TRUSTED: f"the credentials that {who} signed (trusted)",
        CredentialState.UNTRUSTED: f"the credentials that {who} signed (not trusted)",
    }.get(held.state, f"the broken credentials in the name of {who}")
