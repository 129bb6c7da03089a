"""The client against a scripted control plane over real mutual TLS, both trust models, on both event loops' streams."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from wsproto.events import CloseConnection

from kongdp.certs.contexts import cluster_client_context
from kongdp.sync import client
from kongdp.sync.client import Outcome, SyncClient, SyncOptions
from kongdp.sync.handshake import NodeName
from kongdp.sync.link import SHARED_SERVER_NAME, Endpoint, ProxyServer
from kongdp.sync.messages import ErrorReport, decode_error
from kongdp.sync.session import Output, Session
from tests.support.both_loops import run, until
from tests.support.certificates import Made, authority, make, shared_cluster_pair
from tests.support.scripted_control_plane import ScriptedControlPlane, mutual_context

CA = authority()
SERVER = make("cp", issuer=CA, names=("localhost", "kongdp-control-plane"))
NODE = make("node", issuer=CA)
SHARED = shared_cluster_pair()
ZEROS = "0" * 32
NAME = NodeName("1da9157f-c443-4b08-8355-c97520754c21", "vm", "3.9.1")


class Node:
    """A client with a pipeline that takes hash-like frames: the frame is its own hash, unless it is rejected."""

    def __init__(self, port: int, context: Callable[[], ssl.SSLContext], options: SyncOptions | None = None) -> None:
        self.applied: list[bytes] = []
        self.in_force = ZEROS
        self.rejects: set[bytes] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.announcements: list[bool] = []
        self.options = options or SyncOptions(
            Endpoint("127.0.0.1", port, "kongdp-control-plane"), NAME, b'{"type":"basic_info"}', 16 * 1024 * 1024
        )
        self.client = SyncClient(
            self.options,
            context=context,
            apply=self.apply,
            hash_in_force=lambda: self.in_force,
            on_announcement=self.announcements.append,
            delay_s=lambda: 0.01,
        )

    async def apply(self, frame: bytes) -> Outcome:
        await self.gate.wait()
        self.applied.append(frame)
        if frame in self.rejects:
            return ErrorReport("configuration reload failed", "test", "no", frame.decode())
        self.in_force = frame.decode()
        return self.in_force

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SyncClient]:
        task = asyncio.create_task(self.client.run())
        try:
            yield self.client
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def pki_context(node: Made = NODE) -> ssl.SSLContext:
    return cluster_client_context(node.pair, [CA.pem], trusts_system=False)


def frame(letter: str) -> bytes:
    return (letter * 32).encode()


Story = Callable[[ScriptedControlPlane, Node], Awaitable[None]]


def play(story: Story, *, announces: bool = False, pushes: tuple[bytes, ...] = (), konnect_mode: bool = False) -> None:
    """Run a story with a control plane and a connected node, on both loops."""

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SERVER, CA), announces=announces) as plane:
            plane.pushes = list(pushes)
            node = Node(plane.port, pki_context)
            node.client._options = replace(node.options, konnect_mode=konnect_mode)
            async with node.running():
                await plane.until(lambda: plane.outlets and plane.outlets[-1].pings)
                await story(plane, node)

    run(whole)


def test_handshake_and_first_frames_are_kongs_when_connecting() -> None:
    """Three query arguments, five fields, basic_info as a binary frame, then a ping with zeros; all masked."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        (arrival,) = plane.outlets
        lines = arrival.head.decode().split("\r\n")
        assert lines[0] == f"GET /v1/outlet?{NAME.query()} HTTP/1.1"
        assert [line.split(":")[0] for line in lines[1:6]] == [
            "Upgrade",
            "Host",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Connection",
        ]
        assert lines[2] == f"Host: 127.0.0.1:{plane.port}"
        assert arrival.binaries == [b'{"type":"basic_info"}']
        assert arrival.pings == [ZEROS]
        assert arrival.frames_raw[1] & 0x80
        assert node.client.state.is_connected
        assert node.announcements == [False]

    play(story)


def test_pushed_configuration_is_acknowledged_when_applied() -> None:
    """The ping after the apply carries the new hash."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        await plane.until(lambda: plane.outlets[0].pings == [ZEROS, "a" * 32])
        assert node.applied == [frame("a")]

    play(story, pushes=(frame("a"),))


def test_only_the_newest_is_applied_when_pushes_overtake_an_apply() -> None:
    """Of what comes during an apply, the last is next and the others are never looked at."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        node.gate.clear()
        for letter in "abcd":
            plane.push(frame(letter))
        await until(lambda: node.client._connections[0].session._waiting == frame("d"))
        node.gate.set()
        await plane.until(lambda: plane.outlets[0].pings[-1] == "d" * 32)
        assert node.applied == [frame("a"), frame("d")]

    play(story)


@pytest.mark.parametrize(("announces", "konnect_mode"), [(True, False), (False, True)])
def test_rejection_is_reported_when_welcome(announces: bool, konnect_mode: bool) -> None:
    """The error frame follows, the link stays, the next configuration is applied."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        node.rejects.add(frame("x"))
        plane.push(frame("x"))
        await plane.until(lambda: len(plane.outlets[0].binaries) == 2)
        report = decode_error(plane.outlets[0].binaries[1])
        assert report is not None
        assert report.config_hash == "x" * 32
        plane.push(frame("a"))
        await plane.until(lambda: plane.outlets[0].pings[-1] == "a" * 32)

    play(story, announces=announces, konnect_mode=konnect_mode)


def test_rejection_is_silent_when_the_control_plane_is_kongs() -> None:
    """An open source Kong control plane hangs up at anything but pings."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        node.rejects.add(frame("x"))
        plane.push(frame("x"))
        plane.push(frame("a"))
        await plane.until(lambda: plane.outlets[0].pings[-1] == "a" * 32)
        assert len(plane.outlets[0].binaries) == 1
        assert plane.outlets[0].pings == [ZEROS, "a" * 32]

    play(story)


def test_cached_hash_is_pinged_when_reconnecting() -> None:
    """After a loss the next connection starts with the hash in force."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        await plane.until(lambda: plane.outlets[0].pings[-1] == "a" * 32)
        plane.outlets[0].writer.transport.abort()
        await plane.until(lambda: len(plane.outlets) == 2 and plane.outlets[1].pings)
        assert plane.outlets[1].pings[0] == "a" * 32

    play(story, pushes=(frame("a"),))


def test_node_reconnects_when_the_control_plane_closes_politely() -> None:
    """A close frame is a loss like any other."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        plane.outlets[0].send(CloseConnection(1001))
        await plane.until(lambda: len(plane.outlets) == 2 and plane.outlets[1].pings)
        assert plane.outlets[0].has_ended

    play(story)


def test_new_connection_is_heard_before_the_old_ends_when_renewing() -> None:
    """A renewed certificate: the second connection opens, gets its first frame, only then the first one is closed."""

    async def whole() -> None:
        renewed = make("renewed", issuer=CA)
        certificates = [NODE]
        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            plane.answers_pings = False
            node = Node(plane.port, lambda: pki_context(certificates[-1]))
            async with node.running() as client:
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
                certificates.append(renewed)
                client.renew()
                await plane.until(lambda: len(plane.outlets) == 2 and plane.outlets[1].pings)
                assert not plane.outlets[0].has_ended
                plane.push(frame("a"))
                await plane.until(lambda: plane.outlets[0].has_ended)
                await plane.until(lambda: plane.outlets[1].pings[-1] == "a" * 32)
                assert not plane.outlets[1].has_ended
                assert [arrival.client_certificate for arrival in plane.outlets] == [
                    ssl.PEM_cert_to_DER_cert(made.pem.decode()) for made in (NODE, renewed)
                ]
                assert client.state.is_connected
                client.renew()
                plane.answers_pings = True
                await plane.until(lambda: plane.outlets[1].has_ended)
                assert len(plane.outlets) == 3

    run(whole)


def test_connection_is_replaced_when_the_certificate_was_renewed_while_it_was_opened() -> None:
    """It has the old certificate, and would keep it until that ends."""

    async def whole() -> None:
        certificates = [NODE, make("renewed", issuer=CA)]

        def context() -> ssl.SSLContext:
            used = certificates.pop(0) if len(certificates) > 1 else certificates[0]
            if used is NODE:
                node.client.renew()
            return pki_context(used)

        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            node = Node(plane.port, context)
            async with node.running():
                await plane.until(lambda: len(plane.outlets) == 2 and plane.outlets[0].has_ended)
                await plane.until(lambda: plane.outlets[1].pings)
                assert not plane.outlets[1].has_ended

    run(whole)


def test_old_connection_stays_when_the_renewed_one_cannot_be_opened() -> None:
    """A control plane that refuses the new certificate does not lose the node."""

    async def story(plane: ScriptedControlPlane, node: Node) -> None:
        plane.refusal = (401, b'{"message":"not yet"}')
        node.client.renew()
        await plane.until(lambda: len(plane.outlets) >= 3)
        assert not plane.outlets[0].has_ended
        assert node.client.state.is_connected
        plane.refusal = None
        await plane.until(lambda: plane.outlets[0].has_ended)

    play(story)


def test_sync_ends_when_its_ticks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours there must not leave a node that never finds out that its control plane is silent."""
    monkeypatch.setattr(client, "TICK_S", 0.001)

    patient = Session.tick

    def tick(session: Session, now: float) -> list[Output]:
        raise ZeroDivisionError

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            node = Node(plane.port, pki_context)
            running = asyncio.create_task(node.client.run())
            await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
            monkeypatch.setattr(Session, "tick", tick)
            await until(running.done)
            assert running.exception() is not None
            monkeypatch.setattr(Session, "tick", patient)

    run(whole)


def test_shared_pair_connects_when_both_ends_hold_it() -> None:
    """The shared trust model: SNI `kong_clustering`, the pair is its own anchor."""

    async def whole() -> None:
        seen: list[str | None] = []
        context = mutual_context(SHARED, SHARED)
        context.sni_callback = lambda connection, name, _: seen.append(name)
        async with ScriptedControlPlane(context) as plane:
            options = SyncOptions(Endpoint("127.0.0.1", plane.port, SHARED_SERVER_NAME), NAME, b"{}", 4_194_304)
            node = Node(
                plane.port,
                lambda: cluster_client_context(SHARED.pair, [SHARED.pem], trusts_system=False),
                options,
            )
            async with node.running():
                await plane.until(lambda: plane.outlets and plane.outlets[0].pings)
        assert seen == ["kong_clustering"]

    run(whole)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("refuse", "unexpected HTTP response code: 401"),
        ("drop", "closed the connection without an answer"),
        ("stranger", "the control plane's certificate is not accepted: "),
        ("name", "Hostname mismatch"),
        ("node", "does not accept the node's certificate"),
        ("absent", "refused"),
    ],
)
def test_reason_is_clear_when_a_connection_fails(script: str, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each way to be refused ends in one line that names the cause, and the client goes on trying."""

    async def whole() -> None:
        stranger = authority("stranger")
        server = make("cp", issuer=stranger, names=("kongdp-control-plane",)) if script == "stranger" else SERVER
        server = make("cp", issuer=CA, names=("other",)) if script == "name" else server
        async with ScriptedControlPlane(mutual_context(server, stranger if script == "node" else CA)) as plane:
            plane.refusal = (401, b"{}") if script == "refuse" else None
            plane.drops_silently = script == "drop"
            node = Node(plane.port, pki_context)
            if script == "absent":
                await plane.stop()
            async with node.running() as client:
                await until(lambda: client.state.last_error)
                assert text in (client.state.last_error or "")
                assert not client.state.is_connected

    with caplog.at_level(logging.WARNING, "kongdp.sync"):
        run(whole)
    assert text in caplog.text


@pytest.mark.parametrize(("status", "works"), [(b"200 OK", True), (b"407 Proxy Authentication Required", False)])
def test_proxy_is_asked_to_connect_when_configured(status: bytes, works: bool) -> None:
    """`cluster_use_proxy`: CONNECT with credentials, then TLS inside the tunnel; a refusal is reported with its
    status line.
    """

    async def whole() -> None:
        async with ScriptedControlPlane(mutual_context(SERVER, CA)) as plane:
            heads: list[bytes] = []

            async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    heads.append(await reader.readuntil(b"\r\n\r\n"))
                    writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
                    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", plane.port)
                    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)
                finally:
                    writer.close()

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65536):
                        sink.write(data)
                finally:
                    sink.close()

            proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
            address = ProxyServer("127.0.0.1", proxy.sockets[0].getsockname()[1], "user", "pass")
            endpoint = Endpoint("127.0.0.1", plane.port, "kongdp-control-plane", address)
            node = Node(plane.port, pki_context, SyncOptions(endpoint, NAME, b"{}", 4_194_304))
            async with node.running() as client:
                await until(lambda: plane.outlets and plane.outlets[0].pings if works else client.state.last_error)
            assert heads[0].startswith(f"CONNECT 127.0.0.1:{plane.port} HTTP/1.1\r\n".encode())
            assert b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n" in heads[0]
            if not works:
                assert "407" in (client.state.last_error or "")
                assert "pass" not in (client.state.last_error or "")
            proxy.close()

    run(whole)
