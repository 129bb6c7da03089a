"""Enrolment over Secure Transport (RFC 7030), the client's three calls: /cacerts, /simpleenroll, /simplereenroll.

In: a URL, a TLS context with the name to verify, a CSR, credentials.  Out: certificates, or EnrolmentError that says
whose turn it is.
House rules: one connection for one call, all of it under one deadline; an answer has a bound; credentials are only
ever written to a connection whose context verifies (asserted here, decided in issuer.py) and never appear in an
error.
Cold. h11 frames the HTTP. Source: RFC 7030 sections 4.1 and 4.2; Bearer for one-time tokens is ours.
"""

import asyncio
import base64
import binascii
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from kongdp.certs.contexts import CertificateError
from kongdp.errors import KongdpError, Source

DEADLINE_S = 20.0
ANSWER_BYTES_MAX = 1024 * 1024
WELL_KNOWN = "/.well-known/est"
REASON_CHARS_MAX = 300


class EnrolmentError(KongdpError):
    """The authority could not be reached, is not trusted, or said no."""

    source = Source.UPSTREAM


class EnrolmentPending(EnrolmentError):
    """The authority wants a person to decide (202): ask again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the authority asks to come back in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class UntrustedAuthority(EnrolmentError):
    """The server's certificate does not verify."""

    def __init__(self, reason: str, *, wrong_name: bool) -> None:
        super().__init__(reason)
        self.wrong_name = wrong_name


@dataclass(frozen=True, slots=True)
class EnrolmentUrl:
    """Where EST is served: `https://host:port[/path]`; the well-known path is added here."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> "EnrolmentUrl":
        """Raises EnrolmentError for anything but https with a host. A path that names the well-known one already is
        taken as it is, so that a label (RFC 7030 section 3.2.2) can follow it.
        """
        try:
            parts = urlsplit(text)
            port = parts.port or 443
        except ValueError as error:
            raise EnrolmentError(f"enrolment URL {text!r}: {error}") from None
        if parts.scheme != "https" or not parts.hostname:
            raise EnrolmentError(f"enrolment URL {text!r} must be https://host[:port]: credentials travel over it")
        path = parts.path.rstrip("/")
        return cls(parts.hostname, port, path if WELL_KNOWN in path else path + WELL_KNOWN)

    @property
    def authority(self) -> str:
        """host:port as the Host field and messages have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Trust:
    """A TLS context and the name that the server's certificate must have (None only where nothing is verified)."""

    context: ssl.SSLContext
    server_name: str | None

    @property
    def verifies(self) -> bool:
        """Whether a connection over this context proves who answers."""
        return self.context.verify_mode is ssl.CERT_REQUIRED and self.context.check_hostname


def basic(user: str, password: str) -> bytes:
    """An Authorization field value for a user with password (RFC 7617)."""
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def bearer(token: str) -> bytes:
    """An Authorization field value for a one-time token (RFC 6750). Raises EnrolmentError for a token that is no
    field value.
    """
    if not token.isascii() or not token.isprintable() or " " in token:
        raise EnrolmentError("the enrolment token contains characters that a token cannot have")
    return b"Bearer " + token.encode("ascii")


async def fetch_ca_certificates(url: EnrolmentUrl, trust: Trust) -> list[x509.Certificate]:
    """The authority's CA certificates. Over an unverified context they are worth nothing until a fingerprint is
    compared.
    """
    answer = await _call(url, trust, b"GET", "/cacerts", [], b"")
    return _certificates(answer)


async def enroll(url: EnrolmentUrl, trust: Trust, csr: bytes, authorization: bytes) -> list[x509.Certificate]:
    """A first certificate for this request (DER), proven by credentials."""
    assert trust.verifies, "credentials must not be sent to a server that was not verified"
    return await _request_certificate(url, trust, "/simpleenroll", csr, [(b"Authorization", authorization)])


async def reenroll(url: EnrolmentUrl, trust: Trust, csr: bytes) -> list[x509.Certificate]:
    """A new certificate, proven by the client certificate that the context shows."""
    assert trust.verifies
    return await _request_certificate(url, trust, "/simplereenroll", csr, [])


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    fields: dict[bytes, bytes]
    body: bytes


async def _request_certificate(
    url: EnrolmentUrl, trust: Trust, call: str, csr: bytes, fields: list[tuple[bytes, bytes]]
) -> list[x509.Certificate]:
    body = base64.encodebytes(csr)
    fields = [
        *fields,
        (b"Content-Type", b"application/pkcs10"),
        (b"Content-Transfer-Encoding", b"base64"),
        (b"Content-Length", str(len(body)).encode()),
    ]
    return _certificates(await _call(url, trust, b"POST", call, fields, body))


async def _call(
    url: EnrolmentUrl, trust: Trust, method: bytes, call: str, fields: list[tuple[bytes, bytes]], body: bytes
) -> _Answer:
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(
                url.host, url.port, ssl=trust.context, server_hostname=trust.server_name or ""
            )
            try:
                return await _exchange(url, reader, writer, method, call, fields, body)
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        wrong_name = error.verify_code in _WRONG_NAME_CODES
        raise UntrustedAuthority(
            f"{url.authority} is not trusted: {error.verify_message}", wrong_name=wrong_name
        ) from None
    except TimeoutError:
        raise EnrolmentError(f"no answer from {url.authority} within {DEADLINE_S:.0f} s") from None
    except OSError as error:
        raise EnrolmentError(f"cannot reach {url.authority}: {error.strerror or error}") from None


_WRONG_NAME_CODES = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


async def _exchange(
    url: EnrolmentUrl,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: bytes,
    call: str,
    fields: list[tuple[bytes, bytes]],
    body: bytes,
) -> _Answer:
    connection = h11.Connection(h11.CLIENT)
    head = h11.Request(
        method=method,
        target=url.path + call,
        headers=[(b"Host", url.authority.encode()), (b"Accept", b"*/*"), (b"Connection", b"close"), *fields],
    )
    parts = [
        connection.send(head),
        connection.send(h11.Data(body)) if body else b"",
        connection.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part or b"" for part in parts))
    await writer.drain()
    status, received, pieces, size = 0, dict[bytes, bytes](), list[bytes](), 0
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                status, received = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > ANSWER_BYTES_MAX:
                    raise EnrolmentError(f"{url.authority} answered with more than {ANSWER_BYTES_MAX} bytes")
                pieces.append(bytes(event.data))
    except h11.RemoteProtocolError as error:
        raise EnrolmentError(f"{url.authority} did not answer in HTTP/1.1: {error}") from None
    answer = _Answer(status, received, b"".join(pieces))
    _check_status(url, answer)
    return answer


def _check_status(url: EnrolmentUrl, answer: _Answer) -> None:
    if answer.status == 200:
        return
    if answer.status == 202:
        after = answer.fields.get(b"retry-after", b"")
        raise EnrolmentPending(min(float(after), 86400.0) if after.isdigit() else 60.0)
    text = answer.body.decode("utf-8", "replace").strip()
    reason = "".join(character if character.isprintable() else " " for character in text[:REASON_CHARS_MAX])
    raise EnrolmentError(
        f"{url.authority} refused with HTTP status {answer.status}" + (f": {reason}" if reason else "")
    )


def _certificates(answer: _Answer) -> list[x509.Certificate]:
    """The certificates in a certs-only PKCS#7, base64 as RFC 7030 says; DER and PEM are understood too."""
    body = answer.body
    try:
        if b"-----BEGIN CERTIFICATE-----" in body:
            return x509.load_pem_x509_certificates(body)
        der = body if body[:1] == b"\x30" else base64.b64decode(b"".join(body.split()), validate=True)
        certificates = pkcs7.load_der_pkcs7_certificates(der)
    except (ValueError, binascii.Error) as error:
        raise CertificateError(f"the authority's answer holds no certificates: {error}") from None
    if not certificates:
        raise CertificateError("the authority's answer holds no certificates")
    return certificates
