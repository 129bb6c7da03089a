"""TLS towards upstreams with real handshakes: what they must show, what we show, which name we ask for, how a body ends."""

import asyncio
import contextlib
import os
import socket
import ssl
from dataclasses import replace

import pytest

from kongdp.certs.contexts import Pair, server_context, server_options
from kongdp.upstream.pool import PoolLimits, TlsIdentity
from tests.support.certificates import Made, authority, common_name, make
from tests.support.gateway import running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import Upstream, config, scripted_upstream

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
GET = b"GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CA = authority()


async def echo(upstream: Upstream, reader: Reader, writer: Writer) -> None:
    """Answers every request."""
    while True:
        await upstream.read_head(reader)
        writer.write(OK)


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
                # an empty label in the middle is refused before that, as nginx does
                for bad, status in ((b"a..b", 400), (b"x" * 64 + b".test", 502), (b".test", 502)):
                    seen = await ask(gateway.port, b"GET /x HTTP/1.1\r\nHost: " + bad + b"\r\n\r\n")
                    assert seen.status == status, bad
                assert gateway.pools_open() == 0

    run(story())


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_body_when_only_the_end_of_a_tls_connection_ends_it(says_goodbye: bool) -> None:
    """With close_notify the body is whole. Without it anybody on the way may have cut it: the client is cut off too."""

    async def story() -> None:
        has_begun = asyncio.Event()

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
            await has_begun.wait()
            if not says_goodbye:
                with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as behind_tls:
                    behind_tls.shutdown(socket.SHUT_RDWR)

        async with (
            scripted_upstream(script, tls=chain_context(LEAF)) as upstream,
            running_gateway(tls_service(upstream.port, "up.localhost")) as gateway,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(GET)
            await reader.readuntil(b"hello\r\n")
            has_begun.set()
            rest = b""
            with contextlib.suppress(ConnectionError):
                rest = await asyncio.wait_for(reader.read(5), 30)
            assert rest == (b"0\r\n\r\n" if says_goodbye else b"")
            writer.close()

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
                entities = gateway.env.snapshot.entities
                certificate = entities.all("certificates")[certificate_id]
                unusable = replace(certificate, key=other.key_pem.decode())
                entities.by_collection["certificates"] = {certificate_id: unusable}  # type: ignore[assignment]
                assert (await ask(gateway.port, GET)).status == 502
                assert gateway.pools_open() == 0

    run(story())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_when_connections_follow_each_other(version: ssl.TLSVersion) -> None:
    """A new connection resumes the session of an earlier one to the same name; one to another name does not."""

    async def story() -> None:
        reused: list[bool] = []

        async def script(upstream: Upstream, reader: Reader, writer: Writer) -> None:
            await upstream.read_head(reader)
            reused.append(writer.get_extra_info("ssl_object").session_reused)
            writer.write(OK)
            await reader.read()

        context = chain_context(LEAF)
        context.maximum_version = version
        async with scripted_upstream(script, tls=context) as upstream:
            loaded = tls_service(upstream.port, "up.localhost", route={"preserve_host": True})
            async with running_gateway(loaded, pool_limits=PoolLimits(idle_max=0)) as gateway:
                for name in (b"gw.test", b"gw.test", b"other.test", b"gw.test"):
                    assert (await ask(gateway.port, GET.replace(b"gw.test", name))).status == 200
                assert reused == [False, True, False, True]

    run(story())


def test_session_when_its_chain_was_too_long() -> None:
    """A connection that was refused leaves nothing to resume: the next one is refused as well."""

    async def story() -> None:
        ca_id = "11111111-1111-4111-8111-111111111111"
        context = chain_context(DEEP, INTERMEDIATE)
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose tickets are there before anything is checked
        async with scripted_upstream(echo, tls=context) as upstream:
            loaded = with_rows(
                tls_service(
                    upstream.port, "up.localhost", tls_verify=True, tls_verify_depth=0, ca_certificates=[ca_id]
                ),
                ca_certificates=[{"id": ca_id, "cert": CA.pem.decode()}],
            )
            async with running_gateway(loaded) as gateway:
                for _ in range(3):
                    assert (await ask(gateway.port, GET)).status == 502
                assert upstream.heads == []

    run(story())
