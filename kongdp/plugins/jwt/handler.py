"""jwt: a signed token says who asks (RFC 7519, with the algorithms of RFC 7518 and RFC 8037).

The algorithm is the credential's, never the token's: a token that names another one is refused before its signature is looked at.
Hot for its routes. This module brings the cryptography package into a worker, so only into those that have a jwt plugin.
Source: spec of bundled plugins, section 2; Kong 3.9 plugins/jwt/{handler,jwt_parser}.lua.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kongdp.entities.model import JwtSecret, Plugin
from kongdp.plugins.authentication import Authentication, authenticate
from kongdp.plugins.base import Answer, ExchangeView, Node, exit_json
from kongdp.plugins.fields import arguments

_HASHES: Mapping[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Mapping[str, tuple[type[ec.EllipticCurve], int]] = {
    "256": (ec.SECP256R1, 32),
    "384": (ec.SECP384R1, 48),
    "512": (ec.SECP521R1, 66),
}
"""Bits of the digest -> the curve that goes with it and the length of each half of a signature in bytes."""

ALGORITHMS = frozenset(f"{kind}{bits}" for kind in ("HS", "RS", "ES", "PS") for bits in _HASHES) | {"EdDSA"}

KEYS_MAX = 1024
"""Public keys kept parsed."""


class TokenError(Exception):
    """A token that is none; the message is Kong's word for it."""


class Token:
    """A token taken apart, nothing of it verified."""

    __slots__ = ("claims", "header", "signature", "signed")

    def __init__(self, text: bytes) -> None:
        """Raises TokenError."""
        parts = text.split(b".")
        if len(parts) != 3:
            raise TokenError("invalid JSON")
        self.signed = parts[0] + b"." + parts[1]
        header, claims = (_json(part) for part in parts[:2])
        if not isinstance(header, dict):
            raise TokenError("invalid JSON")
        if str(header.get("typ", "JWT")).upper() != "JWT":
            raise TokenError("invalid typ")
        if header.get("alg") not in ALGORITHMS:
            raise TokenError("invalid alg")
        if not isinstance(claims, dict):
            raise TokenError("invalid claims")
        signature = _decoded(parts[2])
        if not signature:
            raise TokenError("invalid signature")
        self.header: dict[str, Any] = header
        self.claims: dict[str, Any] = claims
        self.signature = signature


class Jwt(Authentication):
    """One instance of jwt."""

    PRIORITY = 1450

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._arguments = frozenset(name.encode() for name in config.get("uri_param_names") or ())
        self._cookies = frozenset(name.encode() for name in config.get("cookie_names") or ())
        self._headers = tuple(name.lower().encode() for name in config.get("header_names") or ())
        cookie = (b"cookie",) if self._cookies else ()
        self.secret_names = frozenset((*(name.lower() for name in self._arguments), *self._headers, *cookie))
        self._claim: str = config.get("key_claim_name") or "iss"
        self._is_base64 = bool(config["secret_is_base64"])
        self._to_verify = tuple(config.get("claims_to_verify") or ())
        self._expiration_max: float = config.get("maximum_expiration") or 0
        realm = config.get("realm")
        base = f'Bearer realm="{realm}"' if realm else "Bearer"
        self._challenge = ((b"WWW-Authenticate", base.encode()),)
        invalid = f'{base}{"," if realm else ""} error="invalid_token"'
        self._invalid = ((b"WWW-Authenticate", invalid.encode()),)

    def identify(self, exchange: ExchangeView, body: bytes | None) -> Answer | None:
        """The consumer who owns the key that signed."""
        found = self._tokens(exchange)
        if not found:
            return exit_json(401, {"message": "Unauthorized"}, self._challenge)
        if len(found) > 1:
            return self._refusal("Multiple tokens provided")
        try:
            token = Token(found.pop())
        except TokenError as problem:
            return self._refusal(f"Bad token; {problem}")
        name = self._claim
        key = token.claims.get(name)
        key = token.header.get(name) if key is None else key
        if key is None:
            return self._refusal(f"No mandatory '{name}' in claims")
        if key == "":
            return self._refusal(f"Invalid '{name}' in claims")
        secret = exchange.identities.jwt_keys.get(str(key))
        if secret is None:
            return self._refusal(f"No credentials found for given '{name}'")
        return self._verify(exchange, token, secret)

    def _verify(self, exchange: ExchangeView, token: Token, secret: JwtSecret) -> Answer | None:
        if token.header["alg"] != secret.algorithm:
            return self._refusal("Invalid algorithm")
        key = self._key(secret)
        if not key:
            return self._refusal("Invalid key/secret")
        if not is_signed(token, secret.algorithm, key):
            return self._refusal("Invalid signature")
        problems = self._claim_problems(token.claims)
        if problems:
            return exit_json(401, problems, self._invalid)
        consumer = exchange.identities.owner(secret)
        if consumer is None:
            return exit_json(401, {"message": f"Could not find consumer for '{self._claim}={secret.key}'"})
        authenticate(exchange, consumer, secret, secret.key.encode())
        return None

    def _key(self, secret: JwtSecret) -> bytes | None:
        """The bytes that verify: the shared secret or the public key's PEM."""
        if not secret.algorithm.startswith("HS"):
            return secret.rsa_public_key.encode() if secret.rsa_public_key else None
        value = (secret.secret or "").encode()
        return _decoded(value) if self._is_base64 else value

    def _claim_problems(self, claims: Mapping[str, Any]) -> dict[str, str]:
        now = self.node.wall()
        problems: dict[str, str] = {}
        for name in self._to_verify:
            value = claims.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                problems[name] = "must be a number"
            elif name == "exp" and value <= now:
                problems[name] = "token expired"
            elif name == "nbf" and value > now:
                problems[name] = "token not valid yet"
        # "exp" is a number by now: settings with a maximum must verify it
        if not problems and self._expiration_max and claims["exp"] - now > self._expiration_max:
            problems["exp"] = "exceeds maximum allowed expiration"
        return problems

    def _refusal(self, message: str) -> Answer:
        return exit_json(401, {"message": message}, self._invalid)

    def _tokens(self, exchange: ExchangeView) -> set[bytes]:
        """Every token that the request carries; the same one twice is one."""
        found: set[bytes] = set()
        if self._arguments and exchange.query:
            found.update(value for name, value in arguments(exchange.query) if name in self._arguments and value)
        if self._cookies:
            for line in exchange.request_fields.all(b"cookie"):
                pairs = (part.strip().partition(b"=") for part in line.split(b";"))
                found.update(value for name, _, value in pairs if name in self._cookies and value)
        for header in self._headers:
            scheme, _, token = (exchange.request_fields.first(header) or b"").strip().partition(b" ")
            if scheme in (b"Bearer", b"bearer") and token.strip():
                found.add(token.strip())
        return found


def is_signed(token: Token, algorithm: str, key: bytes) -> bool:
    """Whether the signature is right for a key of that algorithm; False for a key of another kind."""
    kind, bits = algorithm[:2], algorithm[2:]
    if kind == "HS":
        digest = hmac.digest(key, token.signed, f"sha{bits}")
        return hmac.compare_digest(digest, token.signature)
    try:
        public = _public_key(key)
        _VERIFIERS[kind](public, token, bits)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _verify_rsa(key: Any, token: Token, bits: str) -> None:
    _expect(key, rsa.RSAPublicKey)
    key.verify(token.signature, token.signed, padding.PKCS1v15(), _HASHES[bits])


def _verify_pss(key: Any, token: Token, bits: str) -> None:
    _expect(key, rsa.RSAPublicKey)
    scheme = padding.PSS(padding.MGF1(_HASHES[bits]), padding.PSS.AUTO)
    key.verify(token.signature, token.signed, scheme, _HASHES[bits])


def _verify_ecdsa(key: Any, token: Token, bits: str) -> None:
    curve, half = _CURVES[bits]
    _expect(key, ec.EllipticCurvePublicKey)
    if not isinstance(key.curve, curve) or len(token.signature) != 2 * half:
        raise InvalidSignature
    numbers = (int.from_bytes(token.signature[:half], "big"), int.from_bytes(token.signature[half:], "big"))
    key.verify(encode_dss_signature(*numbers), token.signed, ec.ECDSA(_HASHES[bits]))


def _verify_eddsa(key: Any, token: Token, bits: str) -> None:
    _expect(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
    key.verify(token.signature, token.signed)


_VERIFIERS: Mapping[str, Callable[[Any, Token, str], None]] = {
    "RS": _verify_rsa,
    "PS": _verify_pss,
    "ES": _verify_ecdsa,
    "Ed": _verify_eddsa,
}


def _expect(key: Any, kind: Any) -> None:
    if not isinstance(key, kind):
        raise InvalidSignature


@lru_cache(KEYS_MAX)
def _public_key(pem: bytes) -> Any:
    return load_pem_public_key(pem)


def _decoded(text: bytes) -> bytes:
    """base64url, padding or not; b"" for what is none."""
    try:
        return base64.b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), b"-_", validate=True)
    except binascii.Error:
        return b""


def _json(part: bytes) -> Any:
    try:
        return orjson.loads(_decoded(part))
    except orjson.JSONDecodeError:
        raise TokenError("invalid JSON") from None


HANDLER = Jwt
