"""A small OpenID provider, over real HTTP: authorisation code flow with PKCE, RS256. It can be told to misbehave."""

from __future__ import annotations

import json
import secrets
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

CLIENT, SECRET = "unmask", "the client's secret, which is long enough for HMAC too"
BACK = "http://console.test/sign-in/back"


@dataclass
class Provider:
    """`person`: claims of whoever signs in. `changes`: claims that come out otherwise (None: left out)."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "name": "Ann Okafor", "roles": ["reviewer"]})
    changes: dict[str, Any] = field(default_factory=dict)
    keys: list[RSAKey] = field(default_factory=list)
    forge: str = ""
    document_changes: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def new_key(self) -> None:
        """Sign with another key from now on; publish that one alone."""
        self.keys = [RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"}, private=True)]

    def document(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **self.document_changes,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes back to; whoever comes is let in."""
        assert query["client_id"] == CLIENT
        assert query["redirect_uri"] == BACK
        assert query["response_type"] == "code"
        assert "openid" in query["scope"].split()
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return f"{BACK}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, str]]:
        """Status, and the answer to who brings a code: each works once, for this client, with the right verifier."""
        client = form.get("client_id"), form.get("client_secret")
        if authorization.startswith("Basic "):
            name, _, secret = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            client = unquote(name), unquote(secret)
        query = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if (
            client != (CLIENT, SECRET)
            or query is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != BACK
            or challenge != query["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": query["nonce"], **self.person}
        claims = {name: value for name, value in (claims | self.changes).items() if value is not None}
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": self.signed(claims)}

    def signed(self, claims: dict[str, Any]) -> str:
        """As an id_token."""
        (key,) = self.keys
        header = {"alg": "RS256", "kid": key.kid}
        if self.forge == "another key":
            key = RSAKey.generate_key(2048, {"kid": key.kid}, private=True)
        if self.forge == "no signature":
            parts = [{"alg": "none", "kid": key.kid}, claims]
            return ".".join(urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts) + "."
        if self.forge == "the client's secret":
            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])
        if self.forge == "the public key as a secret":
            public = OctKey.import_key(key.as_pem(private=False).decode().replace("-----", "="))
            return jwt.encode({"alg": "HS256", "kid": key.kid}, claims, public, algorithms=["HS256"])
        if self.forge == "words":
            return "not.a.token"
        token = jwt.encode(header, claims, key)
        return f"{token[:-6]}AAAAAA" if self.forge == "a broken signature" else token


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Serve one on a free port."""
    provider = Provider()
    provider.new_key()

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            provider.asked.append(address.path)
            if address.path == "/.well-known/openid-configuration":
                self._answer(200, provider.document())
            elif address.path == "/keys":
                keys = KeySet(list(provider.keys)).as_dict(private=False)
                self._answer(200, dict(keys))
            elif address.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*provider.token(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, what: dict[str, Any]) -> None:
            words = json.dumps(what).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
