"""As whom a node meets its control plane: names, anchors, warnings; tables over settings."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from kongdp.certs import identity, issuer
from kongdp.certs.contexts import CertificateError, Pair
from kongdp.certs.est import EnrolmentError
from kongdp.certs.identity import NodeCertificate, save
from kongdp.certs.issuer import Enrolment
from kongdp.process.agent_trust import ProxyError, Trust, configured_identity, endpoints, read_enrolment
from kongdp.settings import Settings, load_settings
from tests.support.certificates import Made, authority, make
from tests.support.clock import FakeClock

CA = authority()
NODE = make("node", issuer=CA, life_s=183 * 86400.0)
PAIR = {"KONG_CLUSTER_CERT": NODE.pem.decode(), "KONG_CLUSTER_CERT_KEY": NODE.key_pem.decode()}
PKI = {**PAIR, "KONG_CLUSTER_MTLS": "pki", "KONG_CLUSTER_CA_CERT": CA.pem.decode()}
ENROL = {"KONGDP_ENROLL_URL": "https://cp:8005", "KONGDP_ENROLL_TOKEN": "token-of-one-use"}


def settings(*groups: dict[str, str], **more: str) -> Settings:
    values = {"KONG_ROLE": "data_plane", "KONG_DATABASE": "off", "KONG_CLUSTER_CONTROL_PLANE": "cp.test:8005"}
    for group in groups:
        values |= group
    return load_settings(None, {**values, **more})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ([PAIR], "kong_clustering"),
        ([PAIR, {"KONG_CLUSTER_SERVER_NAME": "other"}], "kong_clustering"),
        ([PKI], "cp.test"),
        ([PKI, {"KONG_CLUSTER_SERVER_NAME": "other"}], "other"),
        ([ENROL], "kongdp-control-plane"),
        ([ENROL, {"KONG_CLUSTER_SERVER_NAME": "other"}], "other"),
    ],
)
def test_name_to_verify_follows_the_trust_model(given: list[dict[str, str]], name: str) -> None:
    """1.2: shared is always kong_clustering; pki the setting, else the host; an enrolled node our fixed name."""
    control_plane, telemetry = endpoints(settings(*given))
    assert (control_plane.host, control_plane.port, control_plane.server_name) == ("cp.test", 8005, name)
    assert (telemetry.host, telemetry.port, telemetry.server_name) == ("cp.test", 8006, name)


def test_telemetry_has_its_own_place_when_set() -> None:
    """Endpoint and name of the counters' listener."""
    chosen = {"KONG_CLUSTER_TELEMETRY_ENDPOINT": "t.test:443", "KONG_CLUSTER_TELEMETRY_SERVER_NAME": "t"}
    _, telemetry = endpoints(settings(PKI, chosen))
    assert (telemetry.host, telemetry.port, telemetry.server_name) == ("t.test", 443, "t")


def test_proxy_is_used_when_switched_on() -> None:
    """cluster_use_proxy with credentials; an https proxy is refused by name."""
    through = {"KONG_CLUSTER_USE_PROXY": "on", "KONG_PROXY_SERVER": "http://us%40er:pa%3Ass@proxy:3128"}
    proxy = endpoints(settings(PKI, through))[0].proxy
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.user, proxy.password) == ("proxy", 3128, "us@er", "pa:ss")
    assert "pa:ss" not in repr(proxy)
    with pytest.raises(ProxyError, match="proxy_server must be http://"):
        endpoints(settings(PKI, {**through, "KONG_PROXY_SERVER": "https://proxy:3128"}))


@pytest.mark.parametrize(
    ("given", "anchors", "system"),
    [
        ([PAIR], [NODE.pem], True),
        ([PKI], [CA.pem], True),
        ([PKI, {"KONG_LUA_SSL_TRUSTED_CERTIFICATE": CA.pem.decode()}], [CA.pem, CA.pem], False),
    ],
)
def test_anchors_are_the_listed_ones_and_the_models_own(
    given: list[dict[str, str]], anchors: list[bytes], system: bool
) -> None:
    """1.2: lua_ssl_trusted_certificate plus cluster_cert (shared) or cluster_ca_cert (pki)."""
    found = configured_identity(settings(*given))
    assert found is not None
    assert [anchor.strip() for anchor in found.anchors] == [anchor.strip() for anchor in anchors]
    assert found.trusts_system is system
    assert "PRIVATE" not in repr(found)


def test_password_is_read_from_its_file_when_enrolling(tmp_path: Path) -> None:
    """The first line; a file that is not there is named by its setting."""
    path = tmp_path / "password"
    path.write_text("s3cret\nsecond line\n")
    by_user = {"KONGDP_ENROLL_URL": "https://cp", "KONGDP_ENROLL_USER": "u"}
    assert read_enrolment(settings(by_user, {"KONGDP_ENROLL_PASSWORD_FILE": str(path)})).password == "s3cret"
    chosen = settings(by_user, {"KONGDP_ENROLL_PASSWORD_FILE": str(path)})
    path.unlink()
    with pytest.raises(EnrolmentError, match="kongdp_enroll_password_file cannot be read"):
        read_enrolment(chosen)


def test_urgency_is_said_once_when_a_configured_certificate_nears_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning at 30 days, an error at 7, an error at the end; once each. Nothing is renewed: it is the operator's."""
    clock = FakeClock(identity.validity(NODE.pem).not_after - 31 * 86400)
    trust = Trust(settings(PKI, KONG_PREFIX=str(tmp_path)), "node", wall=clock, jitter=lambda: 0.0)
    with caplog.at_level(logging.WARNING, "kongdp.certs"):
        for days in (0.5, 1, 1, 22, 1, 7, 1):
            clock.advance(days * 86400)
            trust.tick()
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR, logging.ERROR]
    assert "traffic goes on" in caplog.text


def test_damaged_certificate_is_reported_when_the_node_starts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The node enrols again instead of failing."""
    directory = tmp_path / "certs"
    directory.mkdir()
    (directory / "node.pem").write_bytes(b"x")
    (directory / "ca.pem").write_bytes(b"x")
    trust = Trust(settings(ENROL, KONG_PREFIX=str(tmp_path)), "node")
    assert trust.identity is None
    assert trust.enrols
    assert "is damaged" in caplog.text


def test_attempts_are_spaced_when_enrolment_fails(tmp_path: Path) -> None:
    """5, 10, 20 s ... at most a minute, so that a mistake in the settings does not become an attack."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 6:
            raise asyncio.CancelledError

    async def story() -> None:
        trust = Trust(settings(ENROL, KONG_PREFIX=str(tmp_path)), "node", jitter=lambda: 0.0, sleep=sleep)
        with pytest.raises(asyncio.CancelledError):
            await trust.obtain()

    asyncio.run(story())
    assert waits == [5, 10, 20, 40, 60, 60]


def expired_node(tmp_path: Path) -> tuple[Trust, NodeCertificate]:
    """A node whose kept certificate has ended an hour ago, and what the authority would give it now."""
    kept = make("node", issuer=CA, life_s=86400.0)
    values = settings(ENROL, KONG_PREFIX=str(tmp_path))
    save(issued(kept), values.paths.certificates)
    now = identity.validity(kept.pem).not_after + 3600
    fresh = issued(make("node", issuer=CA, life_s=183 * 86400.0))
    return Trust(values, "node", wall=lambda: now, jitter=lambda: 0.0), fresh


def issued(made: Made) -> NodeCertificate:
    return NodeCertificate(Pair(made.pem, made.key_pem), CA.pem, identity.validity(made.pem), "CN=node", "1")


@pytest.mark.parametrize("is_renewal_first", [False, True])
def test_one_enrolment_is_made_when_the_certificate_has_ended_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_renewal_first: bool
) -> None:
    """The start and the tick both find an ended certificate: who comes second takes what the first one got."""
    trust, fresh = expired_node(tmp_path)

    async def story() -> list[str]:
        asked: list[str] = []
        may_answer = asyncio.Event()

        async def enroll(_enrolment: Enrolment, node_id: str) -> NodeCertificate:
            asked.append(node_id)
            await may_answer.wait()
            return fresh

        monkeypatch.setattr(issuer, "enroll", enroll)
        if is_renewal_first:
            trust.tick()
        obtaining = asyncio.create_task(trust.obtain())
        while not asked:
            await asyncio.sleep(0)
        for _ in range(3):
            trust.tick()
            await asyncio.sleep(0)
        may_answer.set()
        await obtaining
        trust.tick()
        await asyncio.sleep(0)
        return asked

    assert asyncio.run(story()) == ["node"]
    assert trust.identity is not None
    assert trust.identity.validity == fresh.validity


def test_configured_pair_is_refused_when_it_does_not_fit(tmp_path: Path) -> None:
    """Found at the start, not at the first connection."""
    wrong = replace(settings(PKI, KONG_PREFIX=str(tmp_path)), cluster_cert_key=CA.key_pem.decode())
    with pytest.raises(CertificateError, match="mismatch"):
        Trust(wrong, "node")
