"""TLS on both sides with real handshakes: names and certificates, swaps under live connections, resumption, what upstreams must show."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from kongdp.certs.contexts import Pair, server_context, server_options
from kongdp.proxy.addresses import Trust
from kongdp.proxy.environment import Limits
from kongdp.upstream.pool import TlsIdentity
from tests.support.certificates import Made, authority, make
from tests.support.gateway import running_gateway
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


def common_name(der: bytes) -> str:
    """The subject's CN."""
    return str(next(iter(x509.load_der_x509_certificate(der).subject)).value)


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
            assert seen.body.startswith(b"The plain HTTP request was sent to HTTPS port")
            assert seen.headers["connection"] == ["close"]
            assert upstream.heads == []

    run(story())


@pytest.mark.parametrize("begin", [b"", b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x02\x00"])
def test_handshake_when_it_stalls_or_is_garbage(begin: bytes) -> None:
    """A client that never finishes its handshake is closed in time; none is left behind."""

    async def story() -> None:
        async with (
            scripted_upstream(echo) as upstream,
            running_tls_gateway(config(upstream.url), limits=Limits(header_timeout_s=0.2)) as tls,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", tls.port)
            writer.write(begin)
            await asyncio.wait_for(reader.read(), 10)
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
                assert await asyncio.wait_for(missing.read(), 10) == b""
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


INTERMEDIATE = make("intermediate", issuer=CA, is_authority=True)
LEAF = make("leaf", issuer=CA, names=("up.localhost",), addresses=("127.0.0.1",))
DEEP = make("deep", issuer=INTERMEDIATE, names=("up.localhost",), addresses=("127.0.0.1",))
STRANGER = make("stranger", issuer=authority("another"), names=("up.localhost",), addresses=("127.0.0.1",))

VERIFYING = [
    # (certificate, host, verify, depth, trusts the authority, status)
    (LEAF, "up.localhost", None, None, False, 200),
    (LEAF, "up.localhost", True, None, True, 200),
    (LEAF, "127.0.0.1", True, None, True, 200),
    (LEAF, "other.localhost", True, None, True, 502),
    (LEAF, "up.localhost", True, None, False, 502),
    (STRANGER, "up.localhost", True, None, True, 502),
    (STRANGER, "up.localhost", False, None, True, 200),
    (LEAF, "up.localhost", True, 0, True, 502),  # proxy.md section 9; OpenSSL 3 would take it
    (LEAF, "up.localhost", True, 1, True, 200),
    (DEEP, "up.localhost", True, 0, True, 502),
    (DEEP, "up.localhost", True, 1, True, 200),
    (DEEP, "up.localhost", True, None, True, 200),
]


def tls_service(port: int, host: str, **service: object) -> dict[str, object]:
    """A configuration whose service is https at `host`."""
    return config(f"https://{host}:{port}", retries=0, **service)


def with_rows(loaded: dict[str, object], **collections: object) -> dict[str, object]:
    """The configuration with further collections."""
    return {**loaded, **collections}


def chain_context(made: Made, *further: Made, asks: bool = False) -> ssl.SSLContext:
    """An upstream's context that shows a certificate with its chain, and perhaps asks for the client's."""
    pair = Pair(b"".join(part.pem for part in (made, *further)), made.key_pem)
    context = server_context([pair], server_options("intermediate"))
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=CA.pem.decode())
    return context


@pytest.mark.parametrize(("made", "host", "verify", "depth", "trusts", "status"), VERIFYING)
def test_upstream_certificate_when_verified(
    made: Made, host: str, verify: bool | None, depth: int | None, trusts: bool, status: int
) -> None:
    """tls_verify, ca_certificates and tls_verify_depth decide together; a failure is 502 and no request leaves."""

    async def story() -> None:
        ca_id = "11111111-1111-4111-8111-111111111111"
        further = (INTERMEDIATE,) if made is DEEP else ()
        service = {"tls_verify": verify, "tls_verify_depth": depth, "ca_certificates": [ca_id] if trusts else None}
        async with scripted_upstream(echo, tls=chain_context(made, *further)) as upstream:
            loaded = with_rows(
                tls_service(upstream.port, host, **service), ca_certificates=[{"id": ca_id, "cert": CA.pem.decode()}]
            )
            async with running_gateway(loaded) as gateway:
                assert (await ask(gateway.port, GET)).status == status
                assert len(upstream.heads) == (status == 200)

    run(story())


@pytest.mark.parametrize(
    ("service", "trust", "status"),
    [
        ({}, "", 502),
        ({}, CA.pem.decode(), 200),
        ({"tls_verify": False}, "", 200),
        ({"tls_verify": True}, CA.pem.decode(), 200),
        ({"tls_verify_depth": 0}, CA.pem.decode(), 502),
    ],
)
def test_upstream_certificate_when_the_node_verifies(service: dict[str, object], trust: str, status: int) -> None:
    """proxy_ssl_verify and proxy_ssl_trusted_certificate count where the service says nothing, and only there."""

    async def story() -> None:
        defaults = TlsIdentity(None, verify=True, trust=trust)
        async with (
            scripted_upstream(echo, tls=chain_context(LEAF)) as upstream,
            running_gateway(tls_service(upstream.port, "up.localhost", **service), tls_defaults=defaults) as gateway,
        ):
            assert (await ask(gateway.port, GET)).status == status

    run(story())


def test_upstream_when_it_asks_for_a_certificate() -> None:
    """The service's client certificate is shown; without one the handshake or the first read fails: 502."""

    async def story() -> None:
        certificate_id = "22222222-2222-4222-8222-222222222222"
        ours = make("gateway", issuer=CA)
        names: list[object] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            names.append(common_name(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)))
            writer.write(OK)

        rows = [{"id": certificate_id, "cert": ours.pem.decode(), "key": ours.key_pem.decode()}]
        async with scripted_upstream(script, tls=chain_context(LEAF, asks=True)) as upstream:
            shown_one = tls_service(upstream.port, "up.localhost", client_certificate={"id": certificate_id})
            async with running_gateway(with_rows(shown_one, certificates=rows)) as gateway:
                assert (await ask(gateway.port, GET)).status == 200
                assert names == ["gateway"]
            async with running_gateway(tls_service(upstream.port, "up.localhost")) as gateway:
                assert (await ask(gateway.port, GET)).status == 502

    run(story())


@pytest.mark.parametrize(
    ("host", "route", "upstream_row", "name", "host_sent"),
    [
        ("up.localhost", {}, {}, "up.localhost", b"up.localhost:PORT"),
        ("127.0.0.1", {}, {}, None, b"127.0.0.1:PORT"),
        ("up.localhost", {"preserve_host": True}, {}, "gw.test", b"gw.test"),
        ("pool", {}, {"host_header": "shown.test"}, "shown.test", b"shown.test:PORT"),
    ],
)
def test_server_name_when_a_host_is_sent(
    host: str, route: dict[str, object], upstream_row: dict[str, object], name: str | None, host_sent: bytes
) -> None:
    """The name asked for in the handshake is the Host sent, without port; addresses are never asked for."""

    async def story() -> None:
        asked: list[str | None] = []
        context = chain_context(LEAF)
        context.sni_callback = lambda _connection, wanted, _context: asked.append(wanted)
        async with scripted_upstream(echo, tls=context) as upstream:
            targets = [{"target": f"127.0.0.1:{upstream.port}"}]
            loaded = with_rows(
                tls_service(upstream.port, host, route=route),
                upstreams=[{"name": "pool", "targets": targets, **upstream_row}],
            )
            async with running_gateway(loaded) as gateway:
                assert (await ask(gateway.port, GET)).status == 200
                assert asked == [name]
                want = host_sent.replace(b"PORT", b"%d" % upstream.port)
                assert b"\r\nHost: %b\r\n" % want in upstream.heads[0]

    run(story())


def test_preserved_host_when_it_is_no_server_name() -> None:
    """A client's Host that TLS cannot carry is a 502, never a request that hangs, and no place in a pool is lost."""

    async def story() -> None:
        async with scripted_upstream(echo, tls=chain_context(LEAF)) as upstream:
            loaded = tls_service(upstream.port, "up.localhost", route={"preserve_host": True})
            async with running_gateway(loaded) as gateway:
                for bad in (b"a..b", b"x" * 64 + b".test", b".test"):
                    assert (await ask(gateway.port, b"GET /x HTTP/1.1\r\nHost: " + bad + b"\r\n\r\n")).status == 502, (
                        bad
                    )
                assert gateway.pools_open() == 0

    run(story())


def test_upstream_handshake_when_it_stalls() -> None:
    """connect_timeout covers the handshake: 504."""

    async def story() -> None:
        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await reader.read()

        async with scripted_upstream(script) as upstream:
            loaded = tls_service(upstream.port, "up.localhost", connect_timeout=200)
            async with running_gateway(loaded) as gateway:
                assert (await ask(gateway.port, GET)).status == 504
                assert gateway.pools_open() == 0

    run(story())


def test_certificates_when_they_cannot_be_used() -> None:
    """An unusable client certificate of a service is a 502 of its requests, not a request that hangs."""

    async def story() -> None:
        certificate_id = "33333333-3333-4333-8333-333333333333"
        one, other = make("one"), make("other")
        async with scripted_upstream(echo, tls=chain_context(LEAF)) as upstream:
            loaded = tls_service(upstream.port, "up.localhost", client_certificate={"id": certificate_id})
            rows = [{"id": certificate_id, "cert": one.pem.decode(), "key": one.key_pem.decode()}]
            async with running_gateway(with_rows(loaded, certificates=rows)) as gateway:
                certificates = gateway.env.snapshot.entities.all("certificates")
                certificates[certificate_id] = replace(certificates[certificate_id], key=other.key_pem.decode())
                assert (await ask(gateway.port, GET)).status == 502
                assert gateway.pools_open() == 0

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
