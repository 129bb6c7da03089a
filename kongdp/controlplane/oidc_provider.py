"""One OpenID provider: what it says of itself, where people are sent, codes for tokens, and what its tokens say.

In: the operator's settings.  Out: addresses and verified claims, or ProviderError with a reason for the log.
House rules: the configured issuer alone is talked to, and the addresses that its own discovery document names. Every request
goes over TLS (plain HTTP to loopback only where the issuer itself is there), follows no redirect, uses no proxy and no
password file of the machine, has a time limit and reads no more than ANSWER_BYTES_MAX. Tokens are signed with the
provider's public keys, by algorithms in which a shared secret or nothing cannot stand for one.
Blocking: called in threads. Cold. Source: OpenID Connect Core and Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (issuer in the
answer), RFC 9700 (best practice); Authlib and joserfc.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from requests.adapters import HTTPAdapter

from kongdp.errors import KongdpError, Source

DISCOVERY = "/.well-known/openid-configuration"
ANSWER_BYTES_MAX = 1 << 20
TIMEOUT_S = 10.0
# How long discovery and keys are kept; an unknown key is asked for sooner, but not at every token that has one.
KEPT_S = 3600.0
KEYS_AGAIN_S = 60.0
LEEWAY_S = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ProviderError(KongdpError):
    """The provider cannot be reached, or what it says cannot be trusted."""

    source = Source.UPSTREAM


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to the provider."""

    issuer: str
    client_id: str
    client_secret: str | None
    scopes: tuple[str, ...]


class Provider:
    """The provider. Thread-safe."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def address(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where somebody is sent to sign in. Raises ProviderError."""
        metadata = self.metadata()
        with self._session(redirect_uri) as session:
            url, _state = session.create_authorization_url(
                metadata["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def check_issuer(self, shown: str | None) -> None:
        """Raise ProviderError for an answer that another provider has sent (mix-up)."""
        if shown is None and not self.metadata().get("authorization_response_iss_parameter_supported"):
            return
        if shown != self._client.issuer:
            raise ProviderError(f"the answer is of the issuer {shown!r}, not of {self._client.issuer!r}")

    def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """Whom a code stands for: the verified claims of the ID token. Raises ProviderError."""
        with self._session(redirect_uri) as session:
            try:
                token = session.fetch_token(
                    self.metadata()["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                )
            except OAuthError as error:
                raise ProviderError(f"the provider gives no token: {error.error}") from None
            except (requests.RequestException, ValueError) as error:
                raise ProviderError(f"the provider's token cannot be fetched: {error}") from None
        shown = token.get("id_token")
        if not isinstance(shown, str):
            raise ProviderError("the provider's answer has no ID token")
        return self._verified(shown, nonce, token.get("access_token"))

    def metadata(self) -> Mapping[str, Any]:
        """What the provider says of itself. Raises ProviderError."""
        with self._lock:
            if self._metadata is None or self._metadata[0] + KEPT_S < self._clock():
                found = self._get(self._client.issuer.rstrip("/") + DISCOVERY)
                self._check_metadata(found)
                self._metadata = (self._clock(), found)
            return self._metadata[1]

    def _check_metadata(self, found: Mapping[str, Any]) -> None:
        if found.get("issuer") != self._client.issuer:
            raise ProviderError(f"discovery names the issuer {found.get('issuer')!r}, not {self._client.issuer!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            url = found.get(name)
            if not isinstance(url, str) or not self._is_allowed(url):
                raise ProviderError(f"discovery: {name} is {str(url)[:200]!r}, which is not an https address")

    def _verified(self, text: str, nonce: str, access_token: Any) -> Mapping[str, Any]:
        token = self._decoded(text)
        claims = CodeIDToken(
            token.claims,
            token.header,
            options={
                "iss": {"essential": True, "value": self._client.issuer},
                "aud": {"essential": True, "value": self._client.client_id},
                "nonce": {"essential": True, "value": nonce},
            },
            params={"client_id": self._client.client_id, "nonce": nonce, "access_token": access_token},
        )
        try:
            claims.validate(now=int(self._clock()), leeway=LEEWAY_S)
        except JoseError as error:
            raise ProviderError(f"the ID token is not valid: {error}") from None
        subject = token.claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            raise ProviderError("the ID token names no subject")
        return token.claims

    def _decoded(self, text: str) -> jwt.Token:
        """The token, verified with the kept keys, else once with fresh ones. Raises ProviderError."""
        for is_last in (False, True):
            try:
                return jwt.decode(text, self._key_set(fresh=is_last), algorithms=ALGORITHMS)
            except (JoseError, ValueError) as error:
                if is_last:
                    raise ProviderError(f"the ID token's signature is not good: {error}") from None
        raise AssertionError("unreachable")

    def _key_set(self, *, fresh: bool) -> KeySet:
        uri = self.metadata()["jwks_uri"]
        with self._lock:
            age = KEYS_AGAIN_S if fresh else KEPT_S
            if self._keys is None or self._keys[0] + age <= self._clock():
                try:
                    keys = KeySet.import_key_set(self._get(uri))  # type: ignore[arg-type]  # judged by it
                except (JoseError, ValueError, KeyError, TypeError) as error:
                    raise ProviderError(f"the provider's keys cannot be read: {error}") from None
                self._keys = (self._clock(), keys)
            return self._keys[1]

    def _get(self, url: str) -> Mapping[str, Any]:
        with self._session("") as session:
            try:
                response = session.get(url, withhold_token=True, headers={"Accept": "application/json"})
                found = response.json() if response.status_code == 200 else None
            except (requests.RequestException, ValueError) as error:
                raise ProviderError(f"{url} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise ProviderError(f"{url} answers {response.status_code}, or no JSON object")
        return found

    def _session(self, redirect_uri: str) -> OAuth2Session:
        client = self._client
        session = OAuth2Session(
            client.client_id,
            client.client_secret,
            token_endpoint_auth_method="client_secret_basic" if client.client_secret else "none",
            scope=" ".join(client.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            default_timeout=TIMEOUT_S,
        )
        # Neither proxies nor passwords that the machine's environment names.
        session.trust_env = False
        session.max_redirects = 0
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Careful(self._is_allowed))
        return session

    def _is_allowed(self, url: str) -> bool:
        return is_allowed(url, self._client.issuer)


def is_allowed(url: str, issuer: str) -> bool:
    """Whether an address may be asked: https, or http on loopback for an issuer that is there itself."""
    try:
        parsed, own = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    if parsed.username is not None or not parsed.hostname or parsed.fragment:
        return False
    is_local = own.scheme == "http" and own.hostname in LOOPBACK and parsed.hostname in LOOPBACK
    return parsed.scheme == "https" or (parsed.scheme == "http" and is_local)


class _Careful(HTTPAdapter):
    """Sends only where it may, takes no redirect, reads so much and no more."""

    def __init__(self, is_allowed: Callable[[str], bool]) -> None:
        super().__init__()
        self._may_ask = is_allowed

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """One request."""
        if not self._may_ask(str(request.url)):
            raise requests.exceptions.InvalidURL(f"{request.url} is not an https address")
        response = super().send(request, **{**options, "stream": True})
        if response.is_redirect:
            response.close()
            raise requests.exceptions.TooManyRedirects("a redirect is not followed")
        content = response.raw.read(ANSWER_BYTES_MAX + 1, decode_content=True)
        response.close()
        if len(content) > ANSWER_BYTES_MAX:
            raise requests.exceptions.ContentDecodingError(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
        response._content = content
        response._content_consumed = True
        return response
