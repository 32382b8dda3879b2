"""Sign-in by OpenID Connect, with any provider: authorisation code flow with PKCE. The one door to
httpx and joserfc.

Sources: OpenID Connect Core 1.0; OAuth 2.0 Security Best Current Practice (RFC 9700); PKCE (RFC 7636).
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from pipeline.errors import Reason, Stage, Transient, UnmaskError

_SKEW = 60
"""Seconds by which the provider's clock may differ."""
_KEEP = 3600
"""Seconds for which the provider's document and keys are kept; unknown keys are asked for at once."""
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]


class NotSignedIn(UnmaskError):
    """What the provider sent proves nothing. The message is for the log; people are told to try again."""


@dataclass(frozen=True, slots=True)
class Started:
    """Where to send the browser, and what to remember until it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass
class Provider:
    """One OpenID provider. `redirect_uri`: where it sends the browser back to."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_uri: str
    scope: str = "openid profile email"
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=10, follow_redirects=False))
    _document: dict[str, Any] = field(default_factory=dict)
    _keys: KeySet | None = None
    _asked: float = 0.0

    async def start(self) -> Started:
        """A new sign-in."""
        document = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(24) for _ in range(3))
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return Started(f"{document['authorization_endpoint']}?{urlencode(query)}", state, nonce, verifier)

    async def finish(self, code: str, nonce: str, verifier: str) -> Mapping[str, object]:
        """The claims of who signed in. Raises NotSignedIn when the provider does not vouch for them."""
        document = await self._discover()
        answer = await self._ask(
            self.client.post(
                document["token_endpoint"],
                data={
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": self.redirect_uri,
                    "client_id": self.client_id,
                    "client_secret": self.client_secret,
                    "code_verifier": verifier,
                },
            )
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotSignedIn("the provider sent no id_token")
        claims = await self._claims(token)
        if claims.get("nonce") != nonce:
            raise NotSignedIn("the id_token belongs to another sign-in")
        return claims

    async def _claims(self, token: str) -> Mapping[str, object]:
        """The claims of a token that this provider signed for this client, now."""
        for fresh in (False, True):
            try:
                found = jwt.decode(token, await self._key_set(fresh), algorithms=_ALGORITHMS)
                break
            except JoseError as error:
                # A key that is not known may be a new one.
                if fresh:
                    raise NotSignedIn(f"the id_token is not signed by the provider: {error}") from None
            except ValueError as error:
                if fresh:
                    raise NotSignedIn(f"the id_token cannot be read: {error}") from None
        rules = jwt.JWTClaimsRegistry(
            leeway=_SKEW,
            iss={"essential": True, "value": self._document["issuer"]},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            rules.validate(found.claims)
        except JoseError as error:
            raise NotSignedIn(f"the id_token does not hold: {error}") from None
        return found.claims

    async def _discover(self) -> dict[str, Any]:
        if not self._document or time.monotonic() - self._asked > _KEEP:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            document = await self._ask(self.client.get(url))
            if str(document.get("issuer", "")).rstrip("/") != self.issuer.rstrip("/"):
                raise NotSignedIn(f"{url} speaks for another issuer")
            if missing := [name for name in _NEEDED if not isinstance(document.get(name), str)]:
                raise NotSignedIn(f"{url} does not say its {', '.join(missing)}")
            self._document, self._keys, self._asked = document, None, time.monotonic()
        return self._document

    async def _key_set(self, fresh: bool) -> KeySet:
        if self._keys is None or fresh:
            document = await self._discover()
            self._keys = KeySet.import_key_set(await self._ask(self.client.get(document["jwks_uri"])))  # type: ignore[arg-type]
        return self._keys

    async def _ask(self, request: Any) -> dict[str, Any]:
        try:
            response = await request
        except httpx.HTTPError as error:
            raise Transient(Stage.SETTLE, Reason.SOURCE_UNAVAILABLE, f"the identity provider: {error!r}") from None
        if response.status_code >= 400:
            raise NotSignedIn(f"the provider answered {response.status_code}")
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NotSignedIn("the provider did not answer with a JSON object")
        return found
