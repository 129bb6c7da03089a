"""An OpenID provider on loopback: discovery, keys, codes with PKCE, signed ID tokens; and what a bad one would do.

`signs_in` is the person that the next visit of /authorize is by. A test that wants a bad provider changes a field.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "kongdp", "a client's secret"


@dataclass
class StandInProvider:
    """The provider's state and its knobs."""

    issuer: str = ""
    signs_in: dict[str, Any] = field(default_factory=dict)
    key: Any = None
    published: Any = None
    algorithm: str = "ES256"
    metadata: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    redirects: bool = False
    padding: int = 0
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def new_key(self, name: str) -> None:
        """Sign with another key, which is published."""
        self.key = ECKey.generate_key("P-256", {"kid": name})
        self.published = KeySet([self.key]).as_dict()

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **self.metadata,
            "padding": "x" * self.padding,
        }

    def authorize(self, query: dict[str, str]) -> str:
        """What a browser that came to sign in is told: where to go back to."""
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self._codes[code] = {**query, "person": json.dumps(self.signs_in)}
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """A token for a code, once, for who shows the verifier and the client's secret."""
        if self.answer is not None:
            return 200, self.answer
        known = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        right = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != right:
            return 401, {"error": "invalid_client"}
        if known is None or known["code_challenge"] != challenge.decode().rstrip("="):
            return 400, {"error": "invalid_grant"}
        if form.get("redirect_uri") != known["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.signed(known)}

    def signed(self, known: dict[str, str]) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": known["nonce"]}
        claims |= {**json.loads(known["person"]), **self.changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "none":
            head, body = ({"alg": "none"}, claims)
            parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in (head, body))
            return ".".join(parts) + "."
        header = {"alg": self.algorithm, "kid": self.key.kid}
        if self.algorithm == "HS256":
            # The old trick: the public key as the shared secret.
            return jwt.encode(header, claims, OctKey.import_key(json.dumps(self.published)), algorithms=["HS256"])
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])


@contextmanager
def provider() -> Iterator[StandInProvider]:
    """A provider that listens within the block."""
    state = StandInProvider()
    state.new_key("one")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _mark, query = self.path.partition("?")
            state.asked.append(path)
            if state.redirects:
                self.send_response(302)
                self.send_header("Location", f"{state.issuer}/elsewhere")
                self.end_headers()
                return
            if path == "/authorize":
                self.send_response(302)
                self.send_header("Location", state.authorize({k: v[0] for k, v in parse_qs(query).items()}))
                self.end_headers()
                return
            found = {"/.well-known/openid-configuration": state.discovery, "/keys": lambda: state.published}.get(path)
            self._answer(404 if found is None else 200, {} if found is None else found())

        def do_POST(self) -> None:
            state.asked.append(self.path)
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*state.token(form, self.headers.get("authorization", "")))

        def _answer(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sent_back(state: StandInProvider, address: str) -> dict[str, str]:
    """The answer with which a browser comes back that was sent to an address of the provider."""
    assert address.startswith(f"{state.issuer}/authorize?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    back = state.authorize(query)
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def rsa_key() -> RSAKey:
    """Another kind of key."""
    return RSAKey.generate_key(2048, {"kid": "rsa"})
