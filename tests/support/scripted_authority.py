"""An EST server that does what a test tells it: real TLS, answers scripted, every request kept."""

import asyncio
import base64
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kongdp.certs.contexts import server_context, server_options
from tests.support.certificates import Made, make


@dataclass(frozen=True)
class EstRequest:
    """One request as it arrived; `client_certificate` is what TLS showed (DER)."""

    line: str
    fields: dict[str, str]
    body: bytes
    client_certificate: bytes | None


class ScriptedAuthority:
    """Use as an async context manager. Issues below `authority` for every CSR unless `answer` is set (status, fields,
    body).
    """

    def __init__(self, authority: Made, server: Made) -> None:
        self.authority = authority
        self.requests: list[EstRequest] = []
        self.answer: tuple[int, str, bytes] | None = None
        self.issues_for: Made | None = None
        self.life_s = 3600.0
        self._context = server_context([server.pair], server_options("intermediate"))
        self._context.load_verify_locations(cadata=authority.pem.decode())
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        return [request.line for request in self.requests]

    async def __aenter__(self) -> "ScriptedAuthority":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            tls = writer.get_extra_info("ssl_object")
            request = EstRequest(head[0], fields, body, tls.getpeercert(binary_form=True))
            self.requests.append(request)
            status, extra, answer = self._answer(request)
            writer.write(f"HTTP/1.1 {status} X\r\n{extra}Content-Length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, request: EstRequest) -> tuple[int, str, bytes]:
        if request.line.startswith("GET"):
            return 200, "Content-Type: application/pkcs7-mime\r\n", packed(self.authority.certificate)
        if self.answer is not None:
            return self.answer
        csr = x509.load_der_x509_csr(base64.b64decode(request.body))
        issuer = self.issues_for or self.authority
        model = make("model", issuer=issuer, life_s=self.life_s, starts_s=0).certificate
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(model.issuer)
            .public_key(csr.public_key())
            .serial_number(model.serial_number)
            .not_valid_before(model.not_valid_before_utc)
            .not_valid_after(model.not_valid_after_utc)
        )
        issued = builder.sign(issuer.key, hashes.SHA256())
        return 200, "Content-Type: application/pkcs7-mime; smime-type=certs-only\r\n", packed(issued)


def packed(*certificates: x509.Certificate) -> bytes:
    """A certs-only PKCS#7 in base64, as RFC 7030 answers."""
    return base64.encodebytes(pkcs7.serialize_certificates(list(certificates), Encoding.DER))
