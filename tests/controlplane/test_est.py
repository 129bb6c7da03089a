"""Enrolment over real TLS: first certificates by password and token, later ones by the certificate, and every
refusal.
"""

import asyncio
import base64
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kongdp.certs.issuer import Enrolment, enroll, reenroll
from kongdp.controlplane import accounts, groups, ledger
from tests.support.control_plane import ControlPlane, running
from tests.support.scripted_data_plane import KeyPair, ScriptedDataPlane, make_request, save_pair

Scenario = Callable[[ControlPlane], Awaitable[None]]
ENROL = "/.well-known/est/simpleenroll"
RENEW = "/.well-known/est/simplereenroll"


def play(scenario: Scenario, tmp_path: Path, **options: Any) -> None:
    async def main() -> None:
        async with running(tmp_path, **options) as plane:
            await scenario(plane)

    asyncio.run(main())


def request_body(node_id: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    return base64.encodebytes(make_request(node_id, key).public_bytes(Encoding.DER))


async def a_password(plane: ControlPlane) -> str:
    password = await plane.plane.database.run(plane.plane.accounts.ensure_admin)
    assert password is not None
    return password


async def a_token(plane: ControlPlane, lifetime_s: float = 60.0) -> str:
    def make() -> str:
        with plane.plane.database.write() as connection:
            made = accounts.create_token(
                connection, plane.group_id, created_by="test", lifetime_s=lifetime_s, now=plane.clock()
            )
        return str(made["token"])

    return await plane.plane.database.run(make)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def certificate_in(body: bytes) -> x509.Certificate:
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))
    return certificate


async def ask(
    plane: ControlPlane,
    target: str,
    fields: dict[str, str],
    *,
    node_id: str | None = None,
    pair: KeyPair | None = None,
    body: bytes | None = None,
) -> tuple[int, dict[str, str], bytes]:
    link = await plane.connect(pair)
    key = ec.generate_private_key(ec.SECP256R1())
    content = request_body(node_id or str(uuid.uuid4()), key) if body is None else body
    return await link.request("POST", target, fields, content)


def test_the_authoritys_certificate_is_for_everyone(tmp_path: Path) -> None:
    """cacerts needs no credential; it is how a node compares the fingerprint it was given."""

    async def scenario(plane: ControlPlane) -> None:
        link = await plane.connect(None)
        status, fields, body = await link.request("GET", "/.well-known/est/cacerts")
        assert (status, fields["content-type"]) == (200, "application/pkcs7-mime")
        assert fields["content-transfer-encoding"] == "base64"
        assert certificate_in(body) == plane.plane.authority.certificate

    play(scenario, tmp_path)


def test_a_node_enrols_by_password_and_then_joins(tmp_path: Path) -> None:
    """The certificate in the answer opens the sync connection."""

    async def scenario(plane: ControlPlane) -> None:
        node_id, key = str(uuid.uuid4()), ec.generate_private_key(ec.SECP256R1())
        link = await plane.connect(None)
        fields = {**basic("admin", await a_password(plane)), "Content-Type": "application/pkcs10"}
        status, answered, body = await link.request("POST", ENROL, fields, request_body(node_id, key))
        assert (status, answered["content-type"]) == (200, "application/pkcs7-mime; smime-type=certs-only")
        pair = save_pair(tmp_path, certificate_in(body), key, node_id)
        joining = await plane.connect(pair)
        await joining.join(node_id)
        assert (await joining.configuration())["type"] == "reconfigure"

    play(scenario, tmp_path)


def test_our_own_client_enrols_and_renews(tmp_path: Path) -> None:
    """The data plane's side of this repository and this side understand each other, from a fingerprint alone."""

    async def scenario(plane: ControlPlane) -> None:
        node_id = str(uuid.uuid4())
        enrolment = Enrolment(
            url=f"https://127.0.0.1:{plane.port}",
            ca_fingerprint=plane.plane.authority.fingerprint,
            token=await a_token(plane),
        )
        first = await enroll(enrolment, node_id)
        second = await reenroll(enrolment, node_id, first)
        assert first.pair != second.pair

        def issued() -> list[str]:
            with plane.plane.database.read() as connection:
                rows, total = ledger.issued(connection, plane.group_id, node_id=node_id, size=10, skip=0)
                assert total == len(rows)
                return [row.issued_to.split()[0] for row in rows]

        assert sorted(await plane.plane.database.run(issued)) == ["certificate", "token"]

    play(scenario, tmp_path)


def test_a_token_enrols_one_node_only(tmp_path: Path) -> None:
    """The second use is refused with a challenge."""

    async def scenario(plane: ControlPlane) -> None:
        fields = {"Authorization": f"Bearer {await a_token(plane)}"}
        assert (await ask(plane, ENROL, fields))[0] == 200
        status, answered, body = await ask(plane, ENROL, fields)
        assert status == 401
        assert "www-authenticate" in answered
        assert b"unknown, used or expired" in body

    play(scenario, tmp_path)


def test_a_token_is_not_used_up_by_a_request_that_cannot_be_signed(tmp_path: Path) -> None:
    """A node that sent nonsense may try again."""

    async def scenario(plane: ControlPlane) -> None:
        fields = {"Authorization": f"Bearer {await a_token(plane)}"}
        assert (await ask(plane, ENROL, fields, body=b"bm9uc2Vuc2U="))[0] == 400
        assert (await ask(plane, ENROL, fields, node_id="no-uuid"))[0] == 400
        assert (await ask(plane, ENROL, fields))[0] == 200

    play(scenario, tmp_path)


def test_a_token_takes_no_node_of_another_group(tmp_path: Path) -> None:
    """The node's id in the request is the sender's word. The token is not used up; the group's own takes the node anew."""

    async def scenario(plane: ControlPlane) -> None:
        def make() -> str:
            with plane.plane.database.write() as connection:
                other = groups.create(connection, "team", "", {}, plane.clock())
                made = accounts.create_token(connection, other.id, created_by="test", lifetime_s=60, now=plane.clock())
                return str(made["token"])

        node_id = str(uuid.uuid4())
        link = await plane.connect(plane.node_pair(node_id))
        await link.join(node_id)
        await link.configuration()
        assert (await plane.node(node_id)).group_id == plane.group_id
        fields = {"Authorization": f"Bearer {await plane.plane.database.run(make)}"}
        status, _answered, body = await ask(plane, ENROL, fields, node_id=node_id)
        assert (status, b"another runtime group" in body) == (409, True)
        assert (await ask(plane, ENROL, fields))[0] == 200
        own = {"Authorization": f"Bearer {await a_token(plane)}"}
        assert (await ask(plane, ENROL, own, node_id=node_id))[0] == 200

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"nocolon").decode()}, 401),
        (basic("admin", "wrong"), 401),
        (basic("nobody", "wrong"), 401),
        ({"Authorization": "Bearer kdp_enrol_wrong"}, 401),
        ({"Authorization": "Digest x"}, 401),
    ],
)
def test_wrong_credentials_are_challenged(tmp_path: Path, fields: dict[str, str], status: int) -> None:
    """401 names both ways to authenticate."""

    async def scenario(plane: ControlPlane) -> None:
        await a_password(plane)
        got, answered, _body = await ask(plane, ENROL, fields)
        assert got == status
        assert "realm=" in answered["www-authenticate"]

    play(scenario, tmp_path)


def test_guessing_tokens_is_slowed(tmp_path: Path) -> None:
    """After a few wrong ones even a right one must wait."""

    async def scenario(plane: ControlPlane) -> None:
        for _ in range(5):
            assert (await ask(plane, ENROL, {"Authorization": "Bearer wrong"}))[0] == 401
        status, answered, _body = await ask(plane, ENROL, {"Authorization": f"Bearer {await a_token(plane)}"})
        assert status == 429
        assert int(answered["retry-after"]) >= 1

    play(scenario, tmp_path)


@pytest.mark.parametrize(("target", "status"), [("/nowhere/simpleenroll", 404), ("/default/simpleenroll", 200)])
def test_a_label_names_the_runtime_group(tmp_path: Path, target: str, status: int) -> None:
    """RFC 7030 section 3.2.2: a label in the path; an unknown group is not found."""

    async def scenario(plane: ControlPlane) -> None:
        fields = basic("admin", await a_password(plane))
        assert (await ask(plane, "/.well-known/est" + target, fields))[0] == status

    play(scenario, tmp_path)


def test_renewal_is_for_the_node_that_the_certificate_names(tmp_path: Path) -> None:
    """No certificate, another node's request and a revoked certificate are forbidden; its own request is signed."""

    async def scenario(plane: ControlPlane) -> None:
        pair = plane.node_pair()
        assert (await ask(plane, RENEW, {}))[0] == 403
        assert (await ask(plane, RENEW, {}, pair=pair))[0] == 403
        status, _fields, body = await ask(plane, RENEW, {}, pair=pair, node_id=pair.node_id)
        assert status == 200
        identity = plane.plane.authority.try_identify(certificate_in(body))
        assert identity is not None
        assert (identity.node_id, identity.group_id) == (pair.node_id, plane.group_id)

    play(scenario, tmp_path)


def test_a_revoked_certificate_opens_nothing(tmp_path: Path) -> None:
    """Neither renewal nor the sync connection."""

    async def scenario(plane: ControlPlane) -> None:
        node_id, key = str(uuid.uuid4()), ec.generate_private_key(ec.SECP256R1())
        link = await plane.connect(None)
        fields = {"Authorization": f"Bearer {await a_token(plane)}"}
        _status, _answered, body = await link.request("POST", ENROL, fields, request_body(node_id, key))
        pair = save_pair(tmp_path, certificate_in(body), key, node_id)

        def revoke() -> int:
            with plane.plane.database.write() as connection:
                return ledger.revoke_node(connection, node_id, plane.clock())

        assert await plane.plane.database.run(revoke) == 1
        assert (await ask(plane, RENEW, {}, pair=pair, node_id=node_id))[0] == 403
        joining = await plane.connect(pair)
        assert await joining.upgrade(f"/v1/outlet?node_id={node_id}&node_hostname=h&node_version=3.9.1") == 0

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", ENROL, 405), ("POST", "/.well-known/est/cacerts", 405), ("POST", "/.well-known/est/serverkeygen", 404)],
)
def test_other_operations_are_refused(tmp_path: Path, method: str, target: str, status: int) -> None:
    """Only what is built is answered."""

    async def scenario(plane: ControlPlane) -> None:
        link: ScriptedDataPlane = await plane.connect(None)
        assert (await link.request(method, target))[0] == status

    play(scenario, tmp_path)


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """A signing request is a few KiB."""

    async def scenario(plane: ControlPlane) -> None:
        status, _fields, _body = await ask(plane, ENROL, {}, body=b"x" * 100_000)
        assert status == 413

    play(scenario, tmp_path)


def test_the_setup_script_is_served(tmp_path: Path) -> None:
    """A shell script, for whoever asks."""

    async def scenario(plane: ControlPlane) -> None:
        link = await plane.connect(None)
        status, fields, body = await link.request("GET", "/runtime-setup.sh")
        assert (status, fields["content-type"]) == (200, "text/x-shellscript; charset=utf-8")
        assert body.startswith(b"#!/bin/sh\n")

    play(scenario, tmp_path)
