"""A sample file whose Content Credentials name somebody, signed on the spot: only tests do that."""

from __future__ import annotations

import io
import json
from typing import Any

import c2pa

from pipeline.demo.credentials import GENERATED, Authority


def named(data: bytes, by: Authority, identity: Authority, mime: str = "image/jpeg") -> bytes:
    """The same file with credentials by one authority's signer, and an identity assertion by the other's."""
    signers = {"signer": _signer(by), "cawg_x509_signer": _signer(identity, roles=["cawg.creator"])}
    context = c2pa.Context.from_dict(signers)
    assertions = [{"label": "c2pa.actions", "data": {"actions": [GENERATED]}}]
    builder = c2pa.Builder(json.dumps({"assertions": assertions}), context=context)
    # The settings hold the signers, which Python's side of the library does not notice.
    builder._has_context_signer = True
    out = io.BytesIO()
    builder.sign(mime, io.BytesIO(data), out)
    return out.getvalue()


def _signer(by: Authority, **more: Any) -> dict[str, Any]:
    return {"local": {"alg": "es256", "sign_cert": by.chain.decode(), "private_key": by.key.decode(), **more}}
