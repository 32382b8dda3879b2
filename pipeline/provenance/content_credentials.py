"""Content Credentials (C2PA): the only door to c2pa-python. Runs inside the decoder's sandbox; nothing is fetched.

Four states. *Invalid* is no proof of forgery (genuine camera files have been seen with a wrong data hash), and
*trusted* says who signed, not that the picture shows the truth. C2PA specification 2.2, §15 (validation) and §18
(assertions).

An identity assertion (`cawg.identity`, by the Creator Assertions Working Group) names a person or an organisation that
stands behind the content. A name is taken over only where the library validated the assertion, bound to this very
content, and its X.509 certificate leads to an anchor for identities. Who vouches for cameras does not vouch for people,
nor the other way round. Identities that others aggregated (`cawg.identity_claims_aggregation`) are not taken over.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, BinaryIO

import c2pa
import msgspec

from pipeline.decode.metadata import printable
from pipeline.events.values import Credentials, CredentialState

_MARK = b"c2pa"
"""A manifest store names itself so, in whatever container."""
_HEAD, _TAIL = 8 * 1024**2, 1024**2
"""Where a store lies: in the first segments of an image, before or after the media data of an MP4."""
_MOST_BYTES = 512 * 1024**2
"""Larger files are not hashed again: that would cost more than judging them."""
_MOST = 24
_TRUST_CODES = frozenset({"signingCredential.untrusted"})
_AGES = frozenset({"signingCredential.expired", "timeStamp.untrusted"})
_IDENTITY = "cawg."
"""Codes about identity assertions. One that does not hold says nothing of the credentials as such."""
_IDENTIFIED = frozenset({"cawg.identity.well-formed", "cawg.x509.signature.validated", "cawg.x509.credential.trusted"})

# The library calls back into Python, and callbacks live in executable memory, of which an enclosed child gets no more:
# what these two took before is free for its own.
c2pa.Stream(io.BytesIO()).close()
c2pa.Context.from_dict({}).close()

_ACTIONS = {
    "c2pa.created": "created",
    "c2pa.opened": "opened",
    "c2pa.placed": "placed another file into it",
    "c2pa.edited": "edited",
    "c2pa.edited.metadata": "edited the metadata",
    "c2pa.cropped": "cropped",
    "c2pa.resized": "resized",
    "c2pa.color_adjustments": "adjusted the colours",
    "c2pa.filtered": "filtered",
    "c2pa.drawing": "drew on it",
    "c2pa.orientation": "turned",
    "c2pa.transcoded": "transcoded",
    "c2pa.converted": "converted",
    "c2pa.published": "published",
    "c2pa.redacted": "redacted",
    "c2pa.watermarked": "watermarked",
    "c2pa.dubbed": "dubbed",
    "c2pa.translated": "translated",
    "c2pa.unknown": "did something that it does not name",
}
"""Actions of the specification (2.2, §18.14) in words."""


def read_credentials(
    file: BinaryIO, mime: str, trust_anchors: str | None, identity_anchors: str | None = None
) -> Credentials:
    """What the file's active manifest says.

    Args:
        file: open and seekable; it is left anywhere.
        mime: its type by content; credentials in types that the library does not read are not seen.
        trust_anchors: PEM certificates of those who may vouch; None: nobody is trusted.
        identity_anchors: PEM certificates of those who may vouch for identities; None: nobody is named.
    """
    size = file.seek(0, io.SEEK_END)
    if not _mentioned(file, size):
        return Credentials(state=CredentialState.ABSENT)
    if size > _MOST_BYTES:
        return Credentials(state=CredentialState.ABSENT, note=f"not checked: larger than {_MOST_BYTES // 1024**2} MB")
    try:
        store = _store(file, mime, "manifest", trust_anchors)
        if store is None:
            return Credentials(state=CredentialState.ABSENT)
        found = interpreted(store)
        if identity_anchors and found.state is not CredentialState.INVALID and _identities(store):
            # Read again: given both lists at once, the library lets anchors of people vouch for cameras.
            again = _store(file, mime, "cawg", identity_anchors)
            return msgspec.structs.replace(found, identity=identity(again or {}))
        return found
    except c2pa.C2paError as error:
        return Credentials(state=CredentialState.INVALID, codes=("unreadable",), note=_short(error))


def _store(file: BinaryIO, mime: str, kind: str, anchors: str | None) -> Mapping[str, Any] | None:
    """What the library says of the manifest store with these anchors; None without a store."""
    file.seek(0)
    reader = c2pa.Reader.try_create(mime, file, context=_context(kind, anchors))
    if reader is None:
        return None
    with reader:
        store: Mapping[str, Any] = json.loads(reader.json())
        return store


def interpreted(store: Mapping[str, Any]) -> Credentials:
    """A manifest store, as c2pa-rs reports it, in our words."""
    active = _active(store)
    failures = _codes(store)
    broken = [code for code in failures if code not in _TRUST_CODES | _AGES and not code.startswith(_IDENTITY)]
    signature = active.get("signature_info") or {}
    actions = [action for action in _actions(active) if isinstance(action, Mapping)]
    types = [str(action["digitalSourceType"]) for action in actions if action.get("digitalSourceType")]
    return Credentials(
        state=_state(store, failures, broken),
        codes=tuple(failures[:_MOST]),
        issuer=printable(signature.get("issuer") or signature.get("common_name") or "")[:200] or None,
        generator=_generator(active),
        signed_at=printable(signature.get("time") or "")[:40] or None,
        actions=tuple(_told(action) for action in actions[:_MOST]),
        source_types=tuple(dict.fromkeys(printable(each.rpartition("/")[2])[:80] for each in types))[:_MOST],
        ingredients=len(active.get("ingredients") or ()),
    )


def _state(store: Mapping[str, Any], failures: list[str], broken: list[str]) -> CredentialState:
    if broken or store.get("validation_state") == "Invalid":
        return CredentialState.INVALID
    if any(not code.startswith(_IDENTITY) for code in failures):
        return CredentialState.UNTRUSTED
    # Where an identity is not trusted, the library calls trusted credentials no more than valid.
    trusted = store.get("validation_state") == "Trusted" or "signingCredential.trusted" in _results(store, "success")
    return CredentialState.TRUSTED if trusted else CredentialState.UNTRUSTED


def identity(store: Mapping[str, Any]) -> str | None:
    """Whom the first identity assertion that holds in every way names, in a store that was read with anchors for it."""
    for assertion in _identities(store):
        number = assertion.get("instance") or 1
        at = f"/c2pa.assertions/{assertion['label']}" + (f"__{number}" if number > 1 else "")
        if _results(store, "success", at) >= _IDENTIFIED and not _results(store, "failure", at):
            signature = assertion["data"].get("signature_info") or {}
            return printable(signature.get("common_name") or signature.get("issuer") or "")[:200] or None
    return None


def _identities(store: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        assertion
        for assertion in _active(store).get("assertions") or ()
        if str(assertion.get("label", "")).startswith("cawg.identity") and isinstance(assertion.get("data"), Mapping)
    ]


def _active(store: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = store.get("manifests", {}).get(store.get("active_manifest"), {})
    return found


def _results(store: Mapping[str, Any], kind: str, at: str = "") -> frozenset[str]:
    """Codes of the active manifest that say so, of one assertion or of all."""
    results = (store.get("validation_results") or {}).get("activeManifest") or {}
    entries = results.get(kind) or ()
    return frozenset(str(entry.get("code", "")) for entry in entries if str(entry.get("url") or "").endswith(at))


def _codes(store: Mapping[str, Any]) -> list[str]:
    """Failures of the active manifest; those of its ingredients are older history."""
    results = (store.get("validation_results") or {}).get("activeManifest")
    entries = results.get("failure", ()) if results else store.get("validation_status") or ()
    return list(dict.fromkeys(printable(entry.get("code", ""))[:80] for entry in entries))


def _actions(manifest: Mapping[str, Any]) -> Iterator[Any]:
    for assertion in manifest.get("assertions") or ():
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            yield from (assertion.get("data") or {}).get("actions") or ()


def _told(action: Mapping[str, Any]) -> str:
    """`created (trainedAlgorithmicMedia) with Gen 2`."""
    name = str(action.get("action", ""))
    words = _ACTIONS.get(name, printable(name)[:80])
    kind = printable(str(action.get("digitalSourceType") or "").rpartition("/")[2])[:80]
    agent = action.get("softwareAgent")
    if isinstance(agent, Mapping):
        agent = " ".join(str(agent[key]) for key in ("name", "version") if agent.get(key))
    with_ = printable(agent or "")[:80]
    return words + (f" ({kind})" if kind else "") + (f" with {with_}" if with_ else "")


def _generator(manifest: Mapping[str, Any]) -> str | None:
    infos = manifest.get("claim_generator_info") or ()
    if infos and isinstance(infos[0], Mapping):
        return printable(" ".join(str(infos[0][key]) for key in ("name", "version") if infos[0].get(key)))[:200] or None
    return printable(manifest.get("claim_generator") or "")[:200] or None


def _mentioned(file: BinaryIO, size: int) -> bool:
    """Whether the file may hold a manifest at all: most do not, and the library's parsers then see nothing of it."""
    file.seek(0)
    if _MARK in (file.read(_HEAD) or b""):
        return True
    if size <= _HEAD:
        return False
    file.seek(max(_HEAD - len(_MARK), size - _TAIL))
    return _MARK in (file.read(_TAIL + len(_MARK)) or b"")


@cache
def _context(kind: str, anchors: str | None) -> c2pa.Context:
    """Validation without any fetching: what the file does not bring along is not looked up."""
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "ocsp_fetch": False, "remote_manifest_fetch": False}}
    if anchors:
        settings["trust"] = {"anchors": [{"trust_kind": kind, "trust_anchors": anchors}]}
    return c2pa.Context.from_dict(settings)


def _short(error: Exception) -> str:
    return printable(str(error))[:200]
