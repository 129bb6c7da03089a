"""The access log's writer behind a gateway: files, rotation, a disk that hangs, syslog, and settings that are wrong."""

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kongdp.process import access_log_writer
from kongdp.process.access_log_writer import AccessLogWriter, File, Syslog
from kongdp.settings import load_settings
from kongdp.telemetry.access_log import AccessLogError
from tests.support.faults import echo, until
from tests.support.gateway import Gateway, running_gateway
from tests.support.loops import run
from tests.support.raw_client import ask
from tests.support.scripted_upstream import config, scripted_upstream

GET = b"GET /%b HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer s3cret\r\nCookie: c=s3cret\r\napikey: s3cret\r\n\r\n"
Story = Callable[[Gateway, AccessLogWriter], Awaitable[None]]


def logged(prefix: Path, story: Story, **environ: str) -> None:
    """Play a story behind a gateway whose log is set up by these settings; at its end everything is written."""

    async def main() -> None:
        settings = load_settings(None, {"KONG_DATABASE": "off", "KONG_PREFIX": str(prefix), **environ})
        async with scripted_upstream(echo) as upstream, running_gateway(config(upstream.url)) as gateway:
            writer = access_log_writer.build(settings, gateway.env)
            assert writer is not None
            gateway.env.access_log = writer
            await story(gateway, writer)
            await writer.close()

    run(main())


async def ask_often(gateway: Gateway, names: list[str]) -> None:
    """One request for each name, one after the other."""
    for name in names:
        assert (await ask(gateway.port, GET % name.encode())).status == 200


def test_lines_when_written_to_a_file(tmp_path: Path) -> None:
    """In order, none twice, by a thread that is not the loop's; no credential that a field carried."""
    names = [f"r{number}" for number in range(200)]
    threads: set[int] = set()

    async def story(gateway: Gateway, writer: AccessLogWriter) -> None:
        sink = writer._sink
        assert isinstance(sink, File)

        class Watched(File):
            def write(self, batch: bytes) -> None:
                threads.add(threading.get_ident())
                super().write(batch)

        writer._sink = Watched(sink._fd)
        await ask_often(gateway, names)

    logged(tmp_path, story)
    text = (tmp_path / "logs" / "access.log").read_text()
    assert re.findall(r'"GET /(r\d+) HTTP/1.1" 200 5 "-" "-" kong_request_id', text) == names
    assert "s3cret" not in text
    assert threads
    assert threading.get_ident() not in threads


def test_lines_when_the_file_is_rotated(tmp_path: Path) -> None:
    """After a rename lines go to the old file until `reopen`, then to a new one; a name that cannot be opened changes nothing."""
    path = tmp_path / "logs" / "a.log"

    async def story(gateway: Gateway, writer: AccessLogWriter) -> None:
        await ask_often(gateway, ["one"])
        path.rename(tmp_path / "old.log")
        await ask_often(gateway, ["two"])
        await until(lambda: (tmp_path / "old.log").read_text().count("\n") == 2)
        writer.reopen()
        await ask_often(gateway, ["three"])
        await until(lambda: path.exists() and "three" in path.read_text())
        path.rename(tmp_path / "second.log")
        path.mkdir()
        writer.reopen()
        await ask_often(gateway, ["four"])
        await until(lambda: "four" in (tmp_path / "second.log").read_text())

    logged(tmp_path, story, KONG_PROXY_ACCESS_LOG="logs/a.log combined")
    assert [line.split()[6] for line in (tmp_path / "old.log").read_text().splitlines()] == ["/one", "/two"]
    assert [line.split()[6] for line in (tmp_path / "second.log").read_text().splitlines()] == ["/three", "/four"]


def test_lines_when_a_write_has_just_ended_at_the_close(tmp_path: Path) -> None:
    """Between the end of a write and its callback the writer can be closed: it must end, with every line written."""

    async def story(gateway: Gateway, writer: AccessLogWriter) -> None:
        await ask_often(gateway, ["one"])
        writer._flushing = ended = asyncio.get_running_loop().create_future()
        ended.add_done_callback(writer._written)
        ended.set_result(None)

    logged(tmp_path, story)
    assert (tmp_path / "logs" / "access.log").read_text().count("\n") == 1


def test_lines_when_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are answered all the same; beyond the bound lines are dropped and counted; what was kept is written later."""
    monkeypatch.setattr(access_log_writer, "PENDING_BYTES_MAX", 2000)
    monkeypatch.setattr(access_log_writer, "BATCH_BYTES", 100)
    goes_on, hangs = threading.Event(), threading.Event()
    dropped = 0

    async def story(gateway: Gateway, writer: AccessLogWriter) -> None:
        nonlocal dropped
        sink = writer._sink
        assert isinstance(sink, File)

        class Hanging(File):
            def write(self, batch: bytes) -> None:
                hangs.set()
                assert goes_on.wait(30)
                super().write(batch)

        writer._sink = Hanging(sink._fd)
        await ask_often(gateway, [f"r{number}" for number in range(50)])
        assert hangs.is_set()
        dropped = gateway.node("log_lines_dropped")
        assert 0 < dropped < 50
        goes_on.set()

    logged(tmp_path, story)
    assert (tmp_path / "logs" / "access.log").read_text().count("\n") == 50 - dropped


def test_lines_when_the_disk_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Lines that were not taken are counted as lost, and said once, however many batches fail."""
    (tmp_path / "full").symlink_to("/dev/full")

    async def story(gateway: Gateway, writer: AccessLogWriter) -> None:
        for lost in (1, 2):
            await ask_often(gateway, ["lost"])
            await until(lambda lost=lost: gateway.node("log_lines_dropped") == lost)  # type: ignore[misc]

    logged(tmp_path, story, KONG_PROXY_ACCESS_LOG="full")
    assert caplog.text.count("No space left on device") == 1


def test_lines_when_the_syslog_server_was_started_again(tmp_path: Path) -> None:
    """Another socket has its name now: lines go there."""
    path = tmp_path / "log"
    sink: Syslog | None = None
    for line in (b"one", b"two"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            sink = sink or Syslog(f"syslog:server=unix:{path}")
            sink.write(line + b"\n")
            assert server.recv(1000).endswith(b" kongdp: " + line)
        path.unlink()
    assert sink is not None
    with pytest.raises(OSError, match="No such file"):
        sink.write(b"three\n")
    sink.close()


@pytest.mark.parametrize("is_unix", [False, True])
def test_lines_when_sent_to_syslog(tmp_path: Path, is_unix: bool) -> None:
    """One datagram a line, in nginx's shape: priority, time, host, tag."""
    server = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET, socket.SOCK_DGRAM)
    server.settimeout(30)
    server.bind(str(tmp_path / "log") if is_unix else ("127.0.0.1", 0))
    place = f"unix:{tmp_path / 'log'}" if is_unix else f"127.0.0.1:{server.getsockname()[1]}"

    async def story(gateway: Gateway, writer: AccessLogWriter) -> None:
        await ask_often(gateway, ["one", "two"])

    target = f"syslog:server={place},facility=local0,severity=notice,tag=gw,nohostname mine"
    logged(tmp_path, story, KONG_PROXY_ACCESS_LOG=target, KONG_NGINX_HTTP_LOG_FORMAT="mine '$status $request_uri'")
    with server:
        for name in (b"one", b"two"):
            datagram = server.recv(65536)
            assert re.fullmatch(rb"<133>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d gw: 200 /" + name, datagram), datagram


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("logs/a.log custom", "unknown format 'custom' \\(combined, json, kong, kong_log_format\\)"),
        ("syslog:tag=x", "not syslog:server="),
        ("syslog:server=127.0.0.1,colour=red", "not syslog:server="),
        ("syslog:server=127.0.0.1,facility=local9", "unknown facility 'local9'"),
    ],
)
def test_log_when_its_setting_is_wrong(tmp_path: Path, target: str, problem: str) -> None:
    """The message names what there is."""

    async def main() -> None:
        settings = load_settings(
            None, {"KONG_DATABASE": "off", "KONG_PREFIX": str(tmp_path), "KONG_PROXY_ACCESS_LOG": target}
        )
        async with running_gateway(config("http://127.0.0.1:1")) as gateway:
            with pytest.raises(AccessLogError, match=problem):
                access_log_writer.build(settings, gateway.env)

    run(main())


def test_log_when_it_is_off(tmp_path: Path) -> None:
    """No writer, so nothing is rendered; nginx's buffer= and flush= beside a path are taken."""

    async def main() -> None:
        async with running_gateway(config("http://127.0.0.1:1")) as gateway:
            for target, is_on in (("off", False), ("logs/x.log combined buffer=32k flush=1m", True)):
                settings = load_settings(
                    None, {"KONG_DATABASE": "off", "KONG_PREFIX": str(tmp_path), "KONG_PROXY_ACCESS_LOG": target}
                )
                writer = access_log_writer.build(settings, gateway.env)
                assert (writer is not None) is is_on
                if writer is not None:
                    await writer.close()

    run(main())
    assert (tmp_path / "logs" / "x.log").read_text() == ""
