"""Enrolment against a scripted EST server over real TLS: bootstrap, refusals, renewal."""

import asyncio
import base64
from collections.abc import Awaitable, Callable

import pytest

from kongdp.certs import est, identity, issuer
from kongdp.certs.contexts import CertificateError
from kongdp.certs.est import EnrolmentError, EnrolmentPending, EnrolmentUrl, UntrustedAuthority
from kongdp.certs.issuer import Enrolment
from tests.support.both_loops import run
from tests.support.certificates import Made, authority, make
from tests.support.scripted_authority import ScriptedAuthority, packed

CA = authority()
OURS = make("cp", issuer=CA, names=("kongdp-control-plane",))
FOREIGN = make("front", issuer=CA, addresses=("127.0.0.1",))
FINGERPRINT = identity.fingerprint(CA.certificate)
NODE = "1da9157f-c443-4b08-8355-c97520754c21"

Story = Callable[[ScriptedAuthority], Awaitable[None]]


def play(story: Story, server: Made = OURS) -> None:
    """Run a story with an EST server on both loops."""

    async def whole() -> None:
        async with ScriptedAuthority(CA, server) as est_server:
            await story(est_server)

    run(whole)


def with_password(server: ScriptedAuthority, **changes: object) -> Enrolment:
    values: dict[str, object] = {"url": server.url, "ca": CA.pem, "user": "admin", "password": "p:ss wörd", **changes}
    return Enrolment(**values)  # type: ignore[arg-type]


def test_certificate_is_issued_when_user_and_password_are_right() -> None:
    """The CA is named by its text: verified at once, base64 of PKCS#10, Basic credentials, a certificate for our key."""

    async def story(server: ScriptedAuthority) -> None:
        node = await issuer.enroll(with_password(server), NODE)
        assert node.subject == f"CN={NODE}"
        assert node.anchors == CA.pem
        assert server.lines == [
            "GET /.well-known/est/cacerts HTTP/1.1",
            "POST /.well-known/est/simpleenroll HTTP/1.1",
        ]
        request = server.requests[1]
        assert request.fields["content-type"] == "application/pkcs10"
        assert base64.b64decode(request.fields["authorization"].removeprefix("Basic ")).decode() == "admin:p:ss wörd"

    play(story)


def test_token_is_sent_when_there_is_one() -> None:
    """A one-time token goes before user and password."""

    async def story(server: ScriptedAuthority) -> None:
        await issuer.enroll(with_password(server, token="tok-1"), NODE)
        assert server.requests[-1].fields["authorization"] == "Bearer tok-1"

    play(story)


def test_host_of_the_url_is_verified_when_the_server_is_not_our_control_plane() -> None:
    """A front server with its own name is accepted under that name."""

    async def story(server: ScriptedAuthority) -> None:
        assert (await issuer.enroll(with_password(server), NODE)).subject == f"CN={NODE}"

    play(story, FOREIGN)


@pytest.mark.parametrize(
    "written",
    [FINGERPRINT, FINGERPRINT.upper(), ":".join([FINGERPRINT[:2], FINGERPRINT[2:]])],
    ids=["lower", "upper", "colon"],  # the fingerprint itself is another one in each process
)
def test_fingerprint_bootstraps_when_the_ca_is_not_at_hand(written: str) -> None:
    """Unverified /cacerts, comparison, then verified connections; the credentials come last."""

    async def story(server: ScriptedAuthority) -> None:
        await issuer.enroll(with_password(server, ca=None, ca_fingerprint=written), NODE)
        assert [line.split("/")[-2].split(" ")[0] for line in server.lines] == ["cacerts", "cacerts", "simpleenroll"]
        assert "authorization" not in server.requests[0].fields

    play(story)


@pytest.mark.parametrize(
    ("changes", "text", "requests"),
    [
        ({"ca": None}, "refusing to send credentials: set KONGDP_ENROLL_CA", 0),
        ({"ca": None, "ca_fingerprint": "00" * 32}, f"refusing to send credentials: .*{FINGERPRINT}", 1),
        ({"ca": authority("other").pem}, "is not trusted: ", 0),
        ({"ca": b"nonsense"}, "trust anchor", 0),
        ({"password": None}, "needs a token, or a user and a password file", 0),
        ({"token": "a\nb"}, "characters that a token cannot have", 0),
    ],
    ids=["no anchor", "other fingerprint", "other ca", "broken ca", "no password", "broken token"],
)
def test_credentials_are_not_sent_when_the_server_is_not_proven(
    changes: dict[str, object], text: str, requests: int
) -> None:
    """Whatever is missing or wrong, no request with credentials leaves the node."""

    async def story(server: ScriptedAuthority) -> None:
        with pytest.raises(EnrolmentError, match=text):
            await issuer.enroll(with_password(server, **changes), NODE)
        assert len(server.requests) == requests
        assert not any("authorization" in request.fields for request in server.requests)

    play(story)


def test_man_in_the_middle_gets_nothing_when_he_shows_the_real_ca() -> None:
    """He can copy /cacerts, but not a server certificate below that CA."""

    async def story(server: ScriptedAuthority) -> None:
        with pytest.raises(UntrustedAuthority):
            await issuer.enroll(with_password(server, ca=None, ca_fingerprint=FINGERPRINT), NODE)
        assert server.lines == ["GET /.well-known/est/cacerts HTTP/1.1"]

    play(story, make("kongdp-control-plane", names=("kongdp-control-plane",)))


def test_renewal_shows_the_present_certificate_when_asking_for_the_next() -> None:
    """simplereenroll without credentials, with a new key, checked against the anchors it came with."""

    async def story(server: ScriptedAuthority) -> None:
        enrolment = with_password(server)
        first = await issuer.enroll(enrolment, NODE)
        second = await issuer.reenroll(Enrolment(server.url), NODE, first)
        assert server.lines[-1] == "POST /.well-known/est/simplereenroll HTTP/1.1"
        assert server.requests[-1].client_certificate is not None
        assert "authorization" not in server.requests[-1].fields
        assert second.pair.key != first.pair.key
        assert second.serial != first.serial

    play(story)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (
            (401, "", b'{"message":"wrong\nname"}'),
            EnrolmentError,
            r'refused with HTTP status 401: \{"message":"wrong name"\}',
        ),
        ((202, "Retry-After: 30\r\n", b""), EnrolmentPending, "come back in 30 s"),
        ((202, "", b""), EnrolmentPending, "come back in 60 s"),
        ((200, "", b"hello!"), CertificateError, "holds no certificates"),
        ((200, "", b"aGVsbG8="), CertificateError, "holds no certificates"),
        ((200, "", packed(CA.certificate)), CertificateError, "for another key"),
        ((200, "", b"x" * 1_100_000), EnrolmentError, "more than 1048576 bytes"),
    ],
)
def test_reason_is_clear_when_the_authority_does_not_issue(
    answer: tuple[int, str, bytes], error: type[Exception], text: str
) -> None:
    """Each answer that is no certificate for us ends in one sentence, without the credentials."""

    async def story(server: ScriptedAuthority) -> None:
        server.answer = answer
        with pytest.raises(error, match=text) as caught:
            await issuer.enroll(with_password(server), NODE)
        assert "wörd" not in str(caught.value)

    play(story)


def test_certificate_of_another_authority_is_refused_when_offered() -> None:
    """What is issued must be signed by the CA that the server itself names."""

    async def story(server: ScriptedAuthority) -> None:
        server.issues_for = authority("other")
        with pytest.raises(CertificateError, match="none of its own CA certificates"):
            await issuer.enroll(with_password(server), NODE)

    play(story)


def test_unreachable_server_is_named_when_nobody_listens() -> None:
    """The address, and the operating system's reason."""

    async def story(server: ScriptedAuthority) -> None:
        await server.__aexit__()
        with pytest.raises(EnrolmentError, match=rf"cannot reach 127\.0\.0\.1:{server.port}: "):
            await issuer.enroll(with_password(server), NODE)

    play(story)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("https://cp:8005", "/.well-known/est"),
        ("https://cp:8005/", "/.well-known/est"),
        ("https://cp:8005/base", "/base/.well-known/est"),
        ("https://cp:8005/.well-known/est", "/.well-known/est"),
        ("https://cp:8005/.well-known/est/group", "/.well-known/est/group"),
    ],
)
def test_url_gets_the_well_known_path_when_it_has_none(text: str, path: str) -> None:
    """A base URL is enough; a label may follow the well-known path."""
    assert EnrolmentUrl.parse(text) == EnrolmentUrl("cp", 8005, path)


@pytest.mark.parametrize("text", ["http://cp:8005", "cp:8005", "https://", "https://cp:99999", "https://[::1"])
def test_url_is_refused_when_credentials_would_be_exposed(text: str) -> None:
    """Only https with a host."""
    with pytest.raises(EnrolmentError, match="enrolment URL"):
        EnrolmentUrl.parse(text)


def test_secrets_are_hidden_when_an_enrolment_is_printed() -> None:
    """A traceback or log line with the value shows neither password nor token."""
    assert "s3cret" not in repr(Enrolment("https://cp", password="s3cret", token="s3cret"))


def test_call_over_an_unverified_context_is_refused_when_it_carries_credentials() -> None:
    """The last line of defence stands beside the wire."""
    trust = est.Trust(issuer.unverified_context(), None)
    with pytest.raises(AssertionError):
        asyncio.run(est.enroll(EnrolmentUrl("cp", 1, "/"), trust, b"", b"Basic x"))
