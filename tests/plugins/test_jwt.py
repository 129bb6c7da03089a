"""jwt through a gateway: the spec's table of refusals, every algorithm, and tokens that try to choose theirs."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from kongdp.plugins.base import Node
from tests.support.loops import run
from tests.support.plugged import plugged

NOW = 1795515072.0
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
RSA = rsa.generate_private_key(65537, 2048)
CURVES = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
ELLIPTIC = {bits: ec.generate_private_key(curve) for bits, curve in CURVES.items()}
EDWARDS = ed25519.Ed25519PrivateKey.generate()
EDWARDS_448 = ed448.Ed448PrivateKey.generate()


def encoded(value: Any) -> str:
    """A part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public(key: Any) -> str:
    """PEM of a key's public half."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def signature(algorithm: str, signed: bytes, secret: bytes, key: Any) -> bytes:
    """Made with another hand than the plugin's."""
    kind, bits = algorithm[:2], algorithm[2:]
    if kind == "HS":
        return hmac.new(secret, signed, getattr(hashlib, f"sha{bits}")).digest()
    if kind == "RS":
        return bytes(key.sign(signed, padding.PKCS1v15(), HASHES[bits]))
    if kind == "PS":
        return bytes(key.sign(signed, padding.PSS(padding.MGF1(HASHES[bits]), 32), HASHES[bits]))
    if kind == "ES":
        half = {"256": 32, "384": 48, "512": 66}[bits]
        return b"".join(n.to_bytes(half, "big") for n in decode_dss_signature(key.sign(signed, ec.ECDSA(HASHES[bits]))))
    return bytes(key.sign(signed))


def token(
    claims: Any = None, *, algorithm: str = "HS256", secret: bytes = b"s3cret", key: Any = None, **header: Any
) -> str:
    """A signed token; `claims` of the issuer k when not given."""
    head = {"alg": algorithm, "typ": "JWT", **header}
    text = f"{encoded(head)}.{encoded({'iss': 'k'} if claims is None else claims)}"
    return f"{text}.{encoded(signature(algorithm, text.encode(), secret, key))}"


def consumers(**secret: Any) -> dict[str, Any]:
    """bob with the key k."""
    return {"consumers": [{"username": "bob", "jwt_secrets": [{"key": "k", "secret": "s3cret", **secret}]}]}


def jwt(**config: Any) -> dict[str, Any]:
    """An instance of the plugin."""
    return {"name": "jwt", "config": config}


GOOD = token()
BOTH = {"claims_to_verify": ["exp", "nbf"]}
LIMITED = {"claims_to_verify": ["exp"], "maximum_expiration": 100}

REFUSALS: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    # (settings, token, body); source: spec/plugins.md, jwt
    ({}, "a.b", {"message": "Bad token; invalid JSON"}),
    ({}, "?.?.?", {"message": "Bad token; invalid JSON"}),
    ({}, f"{encoded(b'no')}.{encoded({})}.{encoded(b'x')}", {"message": "Bad token; invalid JSON"}),
    ({}, f"{encoded({'alg': 'none'})}.{encoded({'iss': 'k'})}.", {"message": "Bad token; invalid alg"}),
    ({}, f"{encoded({})}.{encoded({'iss': 'k'})}.x", {"message": "Bad token; invalid alg"}),
    ({}, token([1]), {"message": "Bad token; invalid claims"}),
    ({}, GOOD.rpartition(".")[0] + ".", {"message": "Bad token; invalid signature"}),
    ({}, token({}), {"message": "No mandatory 'iss' in claims"}),
    ({}, token({"iss": ""}), {"message": "Invalid 'iss' in claims"}),
    ({}, token({"iss": "x"}), {"message": "No credentials found for given 'iss'"}),
    ({"key_claim_name": "kid"}, token({"iss": "k"}), {"message": "No mandatory 'kid' in claims"}),
    ({}, token(algorithm="HS512"), {"message": "Invalid algorithm"}),
    ({}, token(secret=b"wrong"), {"message": "Invalid signature"}),
    ({}, GOOD[:-4] + "AAAA", {"message": "Invalid signature"}),
    (BOTH, token({"iss": "k", "exp": NOW, "nbf": NOW}), {"exp": "token expired"}),
    (BOTH, token({"iss": "k", "exp": NOW + 1, "nbf": NOW + 1}), {"nbf": "token not valid yet"}),
    (BOTH, token({"iss": "k", "exp": "1"}), {"exp": "must be a number", "nbf": "must be a number"}),
    (LIMITED, token({"iss": "k", "exp": NOW + 101}), {"exp": "exceeds maximum allowed expiration"}),
]


@pytest.mark.parametrize(("settings", "text", "body"), REFUSALS)
def test_token_when_it_is_refused(settings: dict[str, Any], text: str, body: dict[str, str]) -> None:
    """401 with Kong's words and challenge, as JSON whatever the client accepts; nothing goes upstream."""

    async def story() -> None:
        async with plugged(jwt(**settings), more=consumers(), node=Node(wall=lambda: NOW)) as p:
            seen = await p.ask(authorization=f"Bearer {text}", accept="text/plain")
            assert (seen.status, json.loads(seen.body)) == (401, body)
            assert seen.headers["www-authenticate"] == ['Bearer error="invalid_token"']
            assert p.upstream.heads == []

    run(story())


PASSES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"authorization": f"Bearer {GOOD}"}),
    ({}, {"authorization": f"bearer  {GOOD}"}),
    ({}, {"path": f"/?jwt={GOOD}"}),
    ({}, {"path": f"/?jwt={GOOD}", "authorization": f"Bearer {GOOD}"}),
    ({"cookie_names": ["c"]}, {"cookie": f"a=1; c={GOOD}"}),
    ({"header_names": ["x-token"]}, {"x_token": f"Bearer {GOOD}"}),
    ({"key_claim_name": "kid"}, {"authorization": f"Bearer {token({}, kid='k')}"}),
    (BOTH, {"authorization": f"Bearer {token({'iss': 'k', 'exp': NOW + 1, 'nbf': NOW})}"}),
    (LIMITED, {"authorization": f"Bearer {token({'iss': 'k', 'exp': NOW + 100})}"}),
]


@pytest.mark.parametrize(("settings", "request_"), PASSES)
def test_token_when_it_is_good(settings: dict[str, Any], request_: dict[str, Any]) -> None:
    """Wherever it is looked for; the upstream is told the consumer and the credential's key."""

    async def story() -> None:
        async with plugged(jwt(**settings), more=consumers(), node=Node(wall=lambda: NOW)) as p:
            assert (await p.ask(**request_)).status == 200
            assert (p.passed()["x-consumer-username"], p.passed()["x-credential-identifier"]) == (["bob"], ["k"])

    run(story())


def test_request_when_it_has_no_token_or_several() -> None:
    """Other challenges; a realm is in both; OPTIONS may be excused."""

    async def story() -> None:
        async with plugged(jwt(realm="r"), more=consumers()) as p:
            for fields in ({}, {"authorization": "Basic x"}, {"authorization": "Bearer"}):
                seen = await p.ask(**fields)
                assert (seen.body, seen.headers["www-authenticate"]) == (
                    b'{"message":"Unauthorized"}',
                    ['Bearer realm="r"'],
                )
            seen = await p.ask(f"/?jwt={GOOD}", authorization=f"Bearer {token({'iss': 'k', 'x': 1})}")
            assert seen.body == b'{"message":"Multiple tokens provided"}'
            assert seen.headers["www-authenticate"] == ['Bearer realm="r", error="invalid_token"']
            assert (await p.ask(method="OPTIONS")).status == 401
        async with plugged(jwt(run_on_preflight=False), more=consumers()) as p:
            assert (await p.ask(method="OPTIONS")).status == 200

    run(story())


KEYS: list[tuple[str, Any]] = [
    *((f"{kind}{bits}", RSA) for kind in ("RS", "PS") for bits in HASHES),
    *((f"ES{bits}", ELLIPTIC[bits]) for bits in HASHES),
    ("EdDSA", EDWARDS),
    ("EdDSA", EDWARDS_448),
]


@pytest.mark.parametrize(("algorithm", "key"), KEYS)
def test_token_when_it_is_signed_with_a_key_pair(algorithm: str, key: Any) -> None:
    """Every algorithm; a changed payload is refused, and so is one signed with the public key as if it were a secret."""

    async def story() -> None:
        pem = public(key)
        async with plugged(jwt(), more=consumers(algorithm=algorithm, rsa_public_key=pem)) as p:
            good = token(algorithm=algorithm, key=key)
            assert (await p.ask(authorization=f"Bearer {good}")).status == 200
            head, _, signed = good.split(".")
            forged = f"{head}.{encoded({'iss': 'k', 'admin': True})}.{signed}"
            assert b"Invalid signature" in (await p.ask(authorization=f"Bearer {forged}")).body
            confused = token(algorithm="HS256", secret=pem.encode())
            assert b"Invalid algorithm" in (await p.ask(authorization=f"Bearer {confused}")).body

    run(story())


@pytest.mark.parametrize("bits", ["256", "384"])
def test_key_of_another_kind_verifies_nothing(bits: str) -> None:
    """A curve that does not go with the algorithm, and a key of another family."""

    async def story() -> None:
        for key in (ELLIPTIC["512"], RSA):
            async with plugged(jwt(), more=consumers(algorithm=f"ES{bits}", rsa_public_key=public(key))) as p:
                text = token(algorithm=f"ES{bits}", key=ELLIPTIC[bits])
                assert b"Invalid signature" in (await p.ask(authorization=f"Bearer {text}")).body

    run(story())


def test_secret_when_it_is_base64() -> None:
    """What it decodes to signs; one that is no base64 signs nothing."""

    async def story() -> None:
        raw = bytes(range(250, 256))
        secret = base64.urlsafe_b64encode(raw).decode()
        async with plugged(jwt(secret_is_base64=True), more=consumers(secret=secret)) as p:
            assert (await p.ask(authorization=f"Bearer {token(secret=raw)}")).status == 200
        async with plugged(jwt(secret_is_base64=True), more=consumers(secret="???")) as p:
            assert b"Invalid key/secret" in (await p.ask(authorization=f"Bearer {token(secret=b'')}")).body

    run(story())
