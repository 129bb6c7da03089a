"""TLS towards clients with real handshakes: names and certificates, swaps under live connections, resumption."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

from kongdp.certs.contexts import server_options
from kongdp.proxy.addresses import Trust
from kongdp.proxy.environment import Limits
from tests.support.certificates import authority, common_name, make
from tests.support.loops import run
from tests.support.raw_client import ask, parse
from tests.support.scripted_upstream import Upstream, config, scripted_upstream
from tests.support.tls_gateway import DEFAULT, TlsGateway, client_context, running_tls_gateway

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
GET = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CA = authority()


async def echo(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers every request."""
    while True:
        await upstream.read_head(reader)
        writer.write(OK)


async def shown(port: int, name: str | None) -> str:
    """The common name of the certificate a client gets for `name`."""
    context = client_context()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
    writer.close()
    await writer.wait_closed()
    return common_name(der)


def test_certificate_when_chosen_by_name() -> None:
    """Exact name, then one label as wildcard, then the default; no name gets the default."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            tls.show({"a.test.x": make("exact"), "*.test.x": make("wild"), "b.test.*": make("right")})
            names = {
                "a.test.x": "exact",
                "b.test.x": "wild",
                "b.test.y": "right",
                "c.a.test.x": "default",
                None: "default",
            }
            for name, want in names.items():
                assert await shown(tls.port, name) == want, name
            assert tls.gateway.node("tls_handshakes") == len(names)

    run(story())


def test_certificate_when_swapped_under_a_live_connection() -> None:
    """A connection goes on with the certificate it began with; the next one gets the new one."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            tls.show({"a.test": make("old")})
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", tls.port, ssl=client_context(), server_hostname="a.test"
            )
            for new in ("new", "newer"):
                writer.write(GET)
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
                assert b"X-Forwarded-Proto: https\r\n" in upstream.heads[-1]
                tls.show({"a.test": make(new)})
                assert await shown(tls.port, "a.test") == new
            tls.show({})
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            assert await shown(tls.port, "a.test") == "default"
            writer.close()

    run(story())


def test_route_when_it_asks_for_a_server_name() -> None:
    """A route with `snis` is matched by the name of the handshake, in any letter case."""

    async def story() -> None:
        route = {"snis": ["a.test"], "protocols": ["https"]}
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url, route=route)) as tls,
        ):
            for name, status in {"a.test": b"200", "A.TEST": b"200", "b.test": b"404"}.items():
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", tls.port, ssl=client_context(), server_hostname=name
                )
                writer.write(GET)
                assert (await reader.readuntil(b"\r\n"))[9:12] == status, name
                writer.close()

    run(story())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_when_resumed(version: ssl.TLSVersion) -> None:
    """A client resumes its session, also after the certificates were swapped."""

    def visit(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="a.test", session=session) as client,
        ):
            client.sendall(GET)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            return client.session, bool(client.session_reused)

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            tls.show({"a.test": make("one")})
            context = client_context(minimum=version)
            context.maximum_version = version
            session, reused = await asyncio.to_thread(visit, tls.port, context, None)
            assert session is not None
            assert not reused
            assert (await asyncio.to_thread(visit, tls.port, context, session))[1]
            tls.show({"a.test": make("two")})
            assert (await asyncio.to_thread(visit, tls.port, context, session))[1]

    run(story())


def test_tls_port_when_plain_http_comes() -> None:
    """400 in Kong's words, connection closed; nothing is forwarded."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            seen = await ask(tls.port, GET)
            assert seen.status == 400
            assert seen.body.startswith(
                b"<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title>"
            )
            assert seen.headers["connection"] == ["close"]
            assert upstream.heads == []

    run(story())


@pytest.mark.parametrize("begin", [b"", b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x02\x00"])
def test_handshake_when_it_stalls_or_is_garbage(begin: bytes) -> None:
    """A client that never finishes its handshake is closed in time; none is left behind."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            # the service's timeout makes the sweep quick, too
            running_tls_gateway(config(upstream.url, read_timeout=200), limits=Limits(header_timeout_s=0.2)) as tls,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", tls.port)
            writer.write(begin)
            await asyncio.wait_for(reader.read(), 30)
            writer.close()
            assert (await shown(tls.port, None)) == "default"

    run(story())


@pytest.mark.parametrize(
    "preamble",
    [
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\0\0\1\0\1\0\2",
    ],
)
@pytest.mark.parametrize("trickled", [False, True])
def test_tls_when_a_proxy_preamble_comes_first(preamble: bytes, trickled: bool) -> None:
    """The preamble stands before the handshake, in one piece with it or byte by byte; its source is the client."""

    async def story() -> None:
        trust = Trust.build(["127.0.0.1"], "proxy_protocol", recursive=False)
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url), proxy_protocol=True, trust=trust) as tls,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", tls.port)
            pieces = [bytes((byte,)) for byte in preamble] if trickled else [preamble]
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            await writer.start_tls(client_context(), server_hostname="a.test")
            writer.write(GET)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            assert b"X-Real-IP: 192.0.2.7\r\n" in upstream.heads[-1]
            writer.close()
            missing, writer = await asyncio.open_connection("127.0.0.1", tls.port)
            writer.write(GET)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(missing.read(), 30) == b""
            writer.close()

    run(story())


def test_answers_when_a_body_is_refused_over_tls() -> None:
    """The answer arrives although the client is still sending: no close before it has read it."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url), limits=Limits(body_bytes_max=1000)) as tls,
        ):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", tls.port, ssl=client_context(), server_hostname="a.test"
            )
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3000000)
            seen = parse(await reader.readuntil(b"\r\n\r\n"), "HEAD", ended=False)
            assert seen is not None
            assert seen.status == 413
            writer.close()

    run(story())


def test_tickets_when_nothing_is_asked() -> None:
    """They come at once: a client whose small writes wait for acknowledgements gets its acknowledgement with them."""

    def wait(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            client_context(minimum=ssl.TLSVersion.TLSv1_3).wrap_socket(
                plain.dup(), server_hostname="a.test", do_handshake_on_connect=False
            ) as client,
        ):
            client.do_handshake()
            assert plain.recv(1, socket.MSG_PEEK)

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            await asyncio.to_thread(wait, tls.port)

    run(story())


def test_handshake_when_it_cannot_succeed() -> None:
    """The client is told why by an alert, and the failure is counted."""

    def refused(port: int) -> str | None:
        context = client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, pytest.raises(ssl.SSLError) as seen:
            context.wrap_socket(plain, server_hostname="a.test")
        return seen.value.reason

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url), options=server_options("modern")) as tls,
        ):
            assert await asyncio.to_thread(refused, tls.port) == "TLSV1_ALERT_PROTOCOL_VERSION"
            assert tls.gateway.node("tls_failures") == 1
            assert tls.gateway.node("tls_handshakes") == 0

    run(story())


def test_connection_when_it_is_closed() -> None:
    """close_notify ends what no length does; without one a client would have to think that it was cut."""

    def read_all(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            client_context().wrap_socket(plain, server_hostname="a.test", suppress_ragged_eofs=False) as client,
        ):
            client.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            seen = b""
            while data := client.recv(65536):
                seen += data
            return seen

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            assert (await asyncio.to_thread(read_all, tls.port)).endswith(b"hello")

    run(story())


def test_requests_when_reading_was_paused_between_their_records() -> None:
    """Three records in one piece, of which the first is more than may wait: the others are read when it was answered."""

    async def story() -> None:
        limits = Limits(pipeline_bytes_max=1024)
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url), limits=limits) as tls,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", tls.port, ssl=client_context())
            asked = GET[:-2] + b"X: " + b"x" * 1000 + b"\r\n\r\n"
            writer.write(asked * 40)
            async with asyncio.timeout(30):
                for _ in range(40):
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200")
                    assert await reader.readexactly(5) == b"hello"
            writer.close()

    run(story())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_bodies_when_both_ways_are_slow(version: ssl.TLSVersion) -> None:
    """Three megabytes come back as they went, over buffers of 64 KB that fill both ways."""
    body = bytes(range(256)) * (3 << 12)

    async def mirror(upstream: Upstream, reader: Reader, writer: Writer) -> None:
        await upstream.read_head(reader)
        await asyncio.sleep(0.05)  # the request fills every buffer on its way
        received = await reader.readexactly(len(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + received)
        await writer.drain()

    async def story() -> None:
        context = client_context(minimum=version)
        context.maximum_version = version
        limits = Limits(response_buffer_bytes=65536, body_buffer_bytes=65536)
        async with (
            scripted_upstream(mirror) as upstream,
            running_tls_gateway(config(upstream.url), limits=limits) as tls,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", tls.port, ssl=context, server_hostname="a.test")
            writer.write(b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            await asyncio.sleep(0.05)  # so does the answer
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(len(body)) == body
            writer.close()

    run(story())


def test_connections_when_arriving_ones_are_too_many() -> None:
    """Who has not finished the handshake counts; who is one too many is refused."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url), limits=Limits(connections_max=1)) as tls,
        ):
            _, waiting = await asyncio.open_connection("127.0.0.1", tls.port)
            refused, late = await asyncio.open_connection("127.0.0.1", tls.port)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(refused.read(), 30) == b""
            assert tls.gateway.node("connections_refused") == 1
            await waiting.start_tls(client_context(), server_hostname="a.test")
            for writer in (waiting, late):
                writer.close()

    run(story())


def test_client_when_it_is_curl() -> None:
    """curl verifies the certificate shown for its name and speaks HTTP/1.1 after ALPN."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def fetch(tls: TlsGateway, ca: Path) -> str:
        command = ["curl", "-sS", "--http1.1", "--cacert", str(ca), "--resolve", f"a.test:{tls.port}:127.0.0.1"]
        return subprocess.run(
            [*command, f"https://a.test:{tls.port}/x"], capture_output=True, text=True, check=True, timeout=60
        ).stdout

    async def story(directory: Path) -> None:
        ca = directory / "ca.pem"
        ca.write_bytes(CA.pem)
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url)) as tls,
        ):
            tls.show({"a.test": make("a", issuer=CA, names=("a.test",))})
            assert await asyncio.to_thread(fetch, tls, ca) == "hello"

    with tempfile.TemporaryDirectory() as name:
        run(story(Path(name)))


def test_default_when_it_is_shown() -> None:
    """The default certificate of this test has the name it says."""
    assert DEFAULT.certificate.subject.rfc4514_string() == "CN=default"
