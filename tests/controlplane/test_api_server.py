"""A server of the control plane that does not come up says why, instead of keeping everybody waiting."""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy.exc import OperationalError

from kongdp.controlplane.api_server import ApiServer, StartError
from kongdp.controlplane.cluster.listener import ClusterListener
from kongdp.controlplane.server import run
from kongdp.settings import Settings, load_settings
from tests.support.control_plane_process import LISTENERS
from tests.support.migrated import plant_sqlite


async def nothing_at_the_start(
    _scope: object, _receive: object, _send: Callable[[dict[str, str]], Awaitable[None]]
) -> None:
    await _send({"type": "lifespan.startup.failed", "message": "no templates"})


def test_an_application_that_does_not_start_is_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    """uvicorn ends the process on it; here it is one server's failure, and the loop lives."""

    async def story() -> None:
        config = uvicorn.Config(nothing_at_the_start, lifespan="on", log_config=None)  # type: ignore[arg-type]
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = ApiServer(config, [sock])
            with pytest.raises(
                StartError, match=f"cannot serve on 127.0.0.1 port {sock.getsockname()[1]}: .*did not start"
            ):
                await asyncio.wait_for(server.until_started(), 30)

    asyncio.run(story())
    assert "no templates" in caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "[Errno 24] Too many open files"),
        (OperationalError("SELECT 1", {}, Exception("disk I/O error")), "disk I/O error"),
    ],
)
def test_a_control_plane_ends_with_the_reason_before_there_are_servers(
    error: Exception,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 and the reason without a traceback; what was started has ended and the database is closed."""
    stopped = []
    stop = ClusterListener.stop

    async def start(_listener: ClusterListener) -> None:
        raise error

    async def stop_and_tell(listener: ClusterListener, reason: str) -> None:
        await stop(listener, reason)
        stopped.append(listener.name)

    monkeypatch.setattr(ClusterListener, "start", start)
    monkeypatch.setattr(ClusterListener, "stop", stop_and_tell)
    settings = settings_of(tmp_path, monkeypatch)
    assert run(settings, on_ready=lambda places: pytest.fail("it is not")) == 1
    out, err = capsys.readouterr()
    assert err == f"kongdp control-plane: cannot start: {said}\n"
    assert "ready" not in out
    assert sorted(stopped) == ["cluster", "telemetry"]


def test_a_control_plane_ends_with_the_reason_when_a_server_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and one line; nothing is called ready."""

    async def startup(_server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        raise OSError("no buffer space available")

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    settings = settings_of(tmp_path, monkeypatch)
    assert run(settings, on_ready=lambda places: pytest.fail("it is not")) == 1
    out, err = capsys.readouterr()
    assert re.fullmatch(r"kongdp control-plane: cannot serve on 127.0.0.1 port \d+: no buffer space available\n", err)
    assert "ready" not in out


def settings_of(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a control plane below a prefix; its logging is nobody's."""
    plant_sqlite(prefix)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    return load_settings(None, {"KONG_ROLE": "control_plane", "KONG_PREFIX": str(prefix), **LISTENERS})
