"""A data plane that does what a test tells it to: mTLS, an upgrade, frames in and out, over a real socket.

Frames are wsproto's, so that ping payloads and the shape of every frame can be seen. Nothing is sent by itself.
"""

import asyncio
import gzip
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

TIMEOUT_S = 60.0
ZEROS = "0" * 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key and its certificate as files, and the id that the certificate names."""

    certificate: Path
    key: Path
    node_id: str


def make_request(node_id: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """A signing request as a node makes it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())


def save_pair(directory: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, node_id: str) -> KeyPair:
    """Write a pair where a TLS context can load it."""
    stem = uuid.uuid4().hex
    pair = KeyPair(directory / f"{stem}.crt", directory / f"{stem}.key", node_id)
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pair.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return pair


class ScriptedDataPlane:
    """One connection. Use `connect`, then `upgrade`, then frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Connection(ConnectionType.CLIENT)
        self._events: list[Any] = []
        self.answer: tuple[int, dict[str, str]] | None = None

    @classmethod
    async def connect(
        cls, port: int, *, trust: str, pair: KeyPair | None, name: str = "kongdp-control-plane"
    ) -> "ScriptedDataPlane":
        """TCP and TLS; `trust` is the CA (PEM) that must have signed the server's certificate for `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=trust)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        return cls(reader, writer)

    @property
    def server_certificate(self) -> bytes:
        """What the server showed, in DER."""
        return self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    async def request(
        self, method: str, target: str, fields: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """A plain request; (0, {}, b"") when the server closed without a byte."""
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: 127.0.0.1:8005",
            *(f"{k}: {v}" for k, v in (fields or {}).items()),
        ]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        status, answered = await self._head()
        length = int(answered.get("content-length", 0)) if method != "HEAD" and status != 101 else 0
        async with asyncio.timeout(TIMEOUT_S):
            return status, answered, await self._reader.readexactly(length)

    async def upgrade(self, target: str) -> int:
        """The opening handshake exactly as a Kong data plane sends it; the status, 0 when the server just closed."""
        fields = {
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "EA7J/F+nSR50W4AhFmgCrQ==",
            "Sec-WebSocket-Version": "13",
            "Connection": "Upgrade",
        }
        status, answered, _body = await self.request("GET", target, fields)
        self.answer = (status, answered)
        return status

    async def join(self, node_id: str, *, version: str = "3.9.1", hostname: str = "scripted", **info: Any) -> None:
        """Upgrade /v1/outlet and send basic_info."""
        target = f"/v1/outlet?node_id={node_id}&node_hostname={hostname}&node_version={version}"
        status = await self.upgrade(target)
        assert status == 101, status
        await self.send_binary(json.dumps(basic_info(**info)).encode())

    async def send_binary(self, data: bytes) -> None:
        """One binary frame."""
        await self._send(BytesMessage(data=bytearray(data)))

    async def send_text(self, text: str) -> None:
        """One text frame."""
        await self._send(TextMessage(data=text))

    async def ping(self, payload: str) -> None:
        """A ping with this payload."""
        await self._send(Ping(payload=payload.encode()))

    async def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def event(self) -> Any:
        """The next frame; None when the connection has ended."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self._events:
                try:
                    data = await self._reader.read(65_536)
                except (ConnectionError, ssl.SSLError):
                    return None
                if not data:
                    return None
                self._frames.receive_data(data)
                self._events.extend(self._frames.events())
        return self._events.pop(0)

    async def message(self) -> bytes | str:
        """The next whole message; other frames are an error."""
        parts = []
        while True:
            event = await self.event()
            assert isinstance(event, BytesMessage | TextMessage), event
            parts.append(event.data)
            if event.message_finished:
                # Kong's library knows no fragments: a message must be one frame.
                assert event.frame_finished
                return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)

    async def configuration(self) -> dict[str, Any]:
        """The next pushed configuration."""
        data = await self.message()
        assert isinstance(data, bytes)
        return json.loads(gzip.decompress(data))

    async def pong(self) -> bytes:
        """The next frame, which must be a pong; its payload."""
        event = await self.event()
        assert isinstance(event, Pong), event
        return bytes(event.payload)

    async def end(self) -> str | None:
        """Wait for the end; the reason of the server's close frame, None when there was none."""
        event = await self.event()
        if event is None:
            return None
        assert isinstance(event, CloseConnection), event
        return event.reason or ""

    async def close(self) -> None:
        """Drop the connection without a word."""
        self._writer.transport.abort()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass

    async def _send(self, event: Any) -> None:
        self._writer.write(self._frames.send(event))
        await self._writer.drain()

    async def _head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(TIMEOUT_S):
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                return 0, {}
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), fields


def basic_info(plugins: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The first message of a data plane."""
    installed = {"acl": "3.9.1", "key-auth": "3.9.1", "prometheus": "3.9.1"} if plugins is None else plugins
    return {
        "type": "basic_info",
        "plugins": [{"name": name, "version": version} for name, version in installed.items()],
        "process_conf": {"role": "data_plane"},
        "filters": {},
        "labels": dict(labels or {}),
    }
