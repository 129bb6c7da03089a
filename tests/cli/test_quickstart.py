"""The quickstart: its sample upstream, its complaints, and the whole story with real processes."""

import asyncio
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kongdp.cli import quickstart
from kongdp.cli.quickstart_plane import StoryError, request
from kongdp.cli.sample_upstream import SampleUpstream
from tests.support.cluster import KONGDP, environment, http, kongdp, wait_for
from tests.support.ports import free_port

PORTS = ("proxy", "status", "admin", "cluster", "telemetry", "console", "portal")


def free_ports() -> list[str]:
    """Options for ports that nobody takes between their choice and their use, as somebody may with 0."""
    return [argument for name in PORTS for argument in (f"--{name}-port", str(free_port()))]


def test_upstream_says_what_reached_it_when_asked() -> None:
    """Method, path and Host are on the page, harmless as HTML; kept-alive connections work."""

    async def story() -> None:
        upstream = SampleUpstream()
        await upstream.start()
        port = int(upstream.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for method in (b"GET", b"HEAD", b"POST"):
            writer.write(method + b" /<b>?x=1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if method != b"HEAD":
                body = await reader.readexactly(size)
                assert b"method: " + method in body
                assert b"/&lt;b&gt;?x=1" in body
                assert b"host:   a.test" in body
        writer.close()
        await writer.wait_closed()
        await upstream.stop()

    asyncio.run(story())


def test_upstream_hangs_up_when_the_request_is_no_http() -> None:
    """Garbage ends the connection, not the server."""

    async def story() -> None:
        upstream = SampleUpstream()
        await upstream.start()
        port = int(upstream.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x00\x01\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert (await asyncio.to_thread(request, "GET", "127.0.0.1", port, "/"))[0] == 200
        await upstream.stop()

    asyncio.run(story())


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_ports_in_use_are_named_with_their_option(tmp_path: Path, taken: int) -> None:
    """Every one of them, before anything is started; exit code 1."""
    options = [*free_ports(), "--proxy-port", str(taken), "--admin-port", str(taken)]
    result = kongdp("quickstart", "-p", str(tmp_path), "--once", *options)
    assert result.returncode == 1
    assert f"port {taken} (proxy) is already in use; choose another with --proxy-port" in result.stderr
    assert f"port {taken} (admin) is already in use; choose another with --admin-port" in result.stderr
    assert not (tmp_path / "control-plane").exists()


@pytest.mark.parametrize("is_first_start", [True, False])
def test_what_was_made_may_have_been_changed_since(
    is_first_start: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asked for keys, or moved the route, can start it all again; at a first start the answer is a fault."""
    monkeypatch.setattr(quickstart, "request", lambda *_asked: (401, b""))
    told = quickstart.Quickstart(tmp_path, quickstart.DEFAULTS)
    told._plane.password = ("admin", "secret") if is_first_start else None
    if is_first_start:
        with pytest.raises(StoryError, match="answered 401 instead of 200"):
            asyncio.run(told._request_once("version", 0))
    else:
        asyncio.run(told._request_once("version", 0))
        assert (
            "GET http://localhost:8000/mock -> 401; the service was changed since it was made"
            in capsys.readouterr().out
        )


@pytest.mark.system
def test_story_is_told_twice_when_run_again(tmp_path: Path) -> None:
    """Everything from an empty prefix; the second run finds its objects and its certificate and counts on. Nothing is
    left running.
    """
    for count in (1, 2):
        result = kongdp("quickstart", "-p", str(tmp_path), "--once", *free_ports())
        assert result.returncode == 0, result.stdout + result.stderr
        assert "is Connected and in sync" in result.stdout
        assert f"status code 200, count {count}\n" in result.stdout
        assert ("password" in result.stdout) is (count == 1)
        assert "everything is stopped." in result.stdout
        assert not running(tmp_path)


@pytest.mark.system
@pytest.mark.parametrize("after", ["Control plane: ", "Everything stays up"])
def test_everything_is_stopped_when_interrupted(tmp_path: Path, after: str) -> None:
    """Ctrl-C in the middle (130) or after the story (0): no process stays. Pages show the address that is asked."""
    process = subprocess.Popen(
        [*KONGDP, "quickstart", "-p", str(tmp_path), *free_ports()],
        env=environment({}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if after in line:
            break
    if after.startswith("Every"):
        places = dict(re.findall(r"(Admin API|proxy) (http://[^\s,]+)", said))
        assert http("GET", f"{places['Admin API']}/v2/portal/settings").json()["proxy_url"] == places["proxy"]
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == (0 if after.startswith("Every") else 130)
    assert "everything is stopped." in rest
    wait_for("no process is left", lambda: not running(tmp_path))


def running(prefix: Path) -> list[str]:
    """Command lines of processes that work under this prefix."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(prefix).encode() in text:
                found.append(entry.name)
    return found
