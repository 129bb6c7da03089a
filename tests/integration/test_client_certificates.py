"""A TLS listener that asks clients for a certificate: who comes in, whichever certificate the listener shows itself."""

import asyncio
import ssl

import pytest

from kongdp.certs.contexts import Pair, load_pair, server_options
from tests.support.certificates import Made, authority, make
from tests.support.loops import run
from tests.support.raw_client import parse
from tests.support.scripted_upstream import Upstream, config, scripted_upstream
from tests.support.tls_gateway import client_context, running_tls_gateway

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
CA = authority("clients")
OURS = make("somebody", issuer=CA)
STRANGERS = make("somebody", issuer=authority("others"))


async def serve(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers every request."""
    while True:
        await upstream.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def is_served(port: int, name: str, made: Made | None, version: ssl.TLSVersion) -> bool:
    """Whether a client that shows a certificate, or none, gets an answer."""
    context = client_context()
    context.maximum_version = version
    if made is not None:
        load_pair(context, Pair(made.pem, made.key_pem))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        writer.write(b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        data = await reader.read(65536)
        writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return False
    seen = parse(data, "GET", ended=True)
    return seen is not None and seen.status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["default.test", "chosen.test"])
@pytest.mark.parametrize(
    ("mode", "served"),
    [
        (ssl.CERT_NONE, {"none", "ours", "strangers"}),
        (ssl.CERT_OPTIONAL, {"none", "ours"}),
        (ssl.CERT_REQUIRED, {"ours"}),
    ],
)
def test_client_when_the_listener_asks_for_a_certificate(
    mode: ssl.VerifyMode, served: set[str], name: str, version: ssl.TLSVersion
) -> None:
    """off, optional, on; also behind a certificate that was chosen by SNI, whose context is another one."""

    async def story() -> None:
        options = server_options("intermediate", verifies_client=mode, client_anchors=CA.pem.decode())
        async with (
            scripted_upstream(serve) as upstream,
            running_tls_gateway(config(upstream.url), options=options) as tls,
        ):
            tls.show({"chosen.test": make("chosen")}, options)
            clients = {"none": None, "ours": OURS, "strangers": STRANGERS}
            found = {who for who, made in clients.items() if await is_served(tls.port, name, made, version)}
            assert found == served
            assert len(upstream.heads) == len(served)

    run(story())
