"""The set-up script against a real listener, with stand-ins for docker and kongdp: what it says, asks and starts."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kongdp.controlplane import accounts
from kongdp.controlplane.plane import SETUP_SCRIPT
from tests.support.control_plane import ControlPlane, running
from tests.support.ports import free_port

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="curl and openssl are needed"
)

# Answers what the script asks of docker; "run" keeps its arguments and settings and reports through the pipe.
DOCKER = """#!/bin/sh
case $1 in
  info) exit "${DOCKER_INFO_STATUS:-0}" ;;
  ps) [ -z "${DOCKER_EXISTING:-}" ] || echo 0123456789ab ;;
  image) exit "${DOCKER_IMAGE_STATUS:-0}" ;;
  pull) exit 0 ;;
  run)
    printf '%s\\n' "$@" >"$STAND_IN/arguments"
    while [ $# -gt 0 ]; do [ "$1" != --env-file ] || cp "$2" "$STAND_IN/settings"; shift; done
    echo started >"$STAND_IN/pipe"
    echo 0123456789abcdef
    ;;
esac
"""
KONGDP = """#!/bin/sh
printf '%s\\n' "$@" >"$STAND_IN/arguments"
env | grep '^KONG' | sort >"$STAND_IN/settings"
echo 1da9157f-c443-4b08-8355-c97520754c21 >"$3/kong.id"
echo started >"$STAND_IN/pipe"
"""


@dataclass(slots=True)
class Host:
    """A machine on which the script runs."""

    directory: Path
    proxy_port: int

    async def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run the script to its end; a data plane "answers" as soon as the stand-in was told to start one."""
        stand_in = self.directory / "stand-in"
        stand_in.mkdir(exist_ok=True)
        for name, text in (("docker", DOCKER), ("kongdp", KONGDP)):
            (stand_in / name).write_text(text)
            (stand_in / name).chmod(0o755)
        pipe = stand_in / "pipe"
        if not pipe.exists():
            os.mkfifo(pipe)
        reading = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        serving: list[asyncio.Server] = []

        async def serve() -> None:
            loop.remove_reader(reading)
            serving.append(await asyncio.start_server(self._answer, "127.0.0.1", self.proxy_port))

        loop.add_reader(reading, lambda: tasks.append(loop.create_task(serve())))
        tasks: list[asyncio.Task[None]] = []
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            str(SETUP_SCRIPT),
            "-pp",
            str(self.proxy_port),
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            start_new_session=True,  # without a terminal
            env={"PATH": f"{stand_in}:{os.environ['PATH']}", "STAND_IN": str(stand_in), **environment},
        )
        out, err = await process.communicate()
        loop.remove_reader(reading)
        os.close(reading)
        for server in serving:
            server.close()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def written(self, name: str) -> str:
        """What a stand-in kept."""
        return (self.directory / "stand-in" / name).read_text()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()


def play(scenario: Callable[[ControlPlane, Host], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path / "plane") as plane:
            await scenario(plane, Host(tmp_path, free_port()))

    (tmp_path / "plane").mkdir()
    asyncio.run(main())


async def as_admin(plane: ControlPlane, tmp_path: Path, password: str | None = None) -> list[str]:
    """Arguments of a user whose password (the right one unless given) is in a file."""
    right = await plane.plane.database.run(plane.plane.accounts.ensure_admin)
    path = tmp_path / "password"
    path.write_text(f"{right if password is None else password}\n")
    return [*named(plane), "-u", "admin", "--password-file", str(path)]


def named(plane: ControlPlane) -> list[str]:
    return ["-c", f"127.0.0.1:{plane.port}", "-f", plane.plane.authority.fingerprint.upper()]


def test_a_container_is_started_with_a_token_that_enrols(tmp_path: Path) -> None:
    """The lines of the page's story; the password is nowhere, the settings are in no argument, the token works."""

    async def scenario(plane: ControlPlane, host: Host) -> None:
        code, out, err = await host.run(*await as_admin(plane, tmp_path), "-te", f"127.0.0.1:{plane.telemetry_port}")
        assert (code, err) == (0, "")
        assert out.splitlines() == [
            "*** Welcome to kongdp ***",
            "Running checks...",
            "Ready to launch",
            "Your flight number: 0123456789abcdef",
            "Enjoy the flight!",
        ]
        arguments, settings = host.written("arguments"), host.written("settings")
        assert "kdp_enrol_" not in arguments
        assert f"{host.proxy_port}:8000" in arguments
        assert "KONG_CLUSTER_CONTROL_PLANE=host.docker.internal:" in settings
        assert f"KONG_CLUSTER_TELEMETRY_ENDPOINT=host.docker.internal:{plane.telemetry_port}\n" in settings
        assert f"KONGDP_ENROLL_CA_FINGERPRINT={plane.plane.authority.fingerprint}" in settings
        token = settings.partition("KONGDP_ENROLL_TOKEN=")[2].splitlines()[0]

        def use() -> object:
            with plane.plane.database.write() as connection:
                return accounts.try_use_token(connection, token, used_by="test", now=plane.clock())

        assert await plane.plane.database.run(use) is not None

    play(scenario, tmp_path)


def test_an_installed_kongdp_is_started_when_local(tmp_path: Path) -> None:
    """With a token instead of a password, and a prefix of its own."""

    async def scenario(plane: ControlPlane, host: Host) -> None:
        token = tmp_path / "token"
        token.write_text("kdp_enrol_abc")
        code, out, err = await host.run(*named(plane), "--token-file", str(token), "--local")
        assert (code, err) == (0, "")
        assert "Your flight number: 1da9157f-c443-4b08-8355-c97520754c21" in out
        assert host.written("arguments").split() == ["start", "-p", str(tmp_path / "kongdp_dataplane")]
        assert f"KONG_PROXY_LISTEN=0.0.0.0:{host.proxy_port}" in host.written("settings")
        assert "KONGDP_ENROLL_TOKEN=kdp_enrol_abc" in host.written("settings")

    play(scenario, tmp_path)


@pytest.mark.parametrize("password", ["wrong", 'with "quotes" and \\ and $HOME', ""])
def test_a_wrong_password_is_a_login_error(tmp_path: Path, password: str) -> None:
    """Exit 1, the status, and nothing was started."""

    async def scenario(plane: ControlPlane, host: Host) -> None:
        code, _out, err = await host.run(*await as_admin(plane, tmp_path, password))
        assert (code, err) == (1, "Error:  login to the control plane failed... (Status code: 401)\n")
        assert not (tmp_path / "stand-in" / "arguments").exists()

    play(scenario, tmp_path)


def test_a_control_plane_with_another_certificate_is_sent_nothing(tmp_path: Path) -> None:
    """The fingerprint decides before any credential leaves the machine."""

    async def scenario(plane: ControlPlane, host: Host) -> None:
        arguments = await as_admin(plane, tmp_path)
        arguments[arguments.index("-f") + 1] = "ab" * 32
        code, _out, err = await host.run(*arguments)
        assert code == 1
        assert "is not the control plane you named" in err
        assert plane.plane.authority.fingerprint in err

    play(scenario, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "say where the control plane is"),
        (["-c", "h:1"], {}, "say which CA certificate"),
        (["-c", "h:1", "-f", "abc"], {}, "say who you are"),
        (["-c", "h:1", "-f", "abc", "-u", "a"], {}, "expected 64 hexadecimal digits"),
        (["-c", "h;x:1", "-f", "ab", "-u", "a"], {}, "expected HOST:PORT"),
        (["-c", "h:1", "-f", "ab", "-u", "a", "-te", "h;x:1"], {}, "-te h;x:1: expected HOST:PORT"),
        (["-p", "secret"], {}, "stays in the shell history"),
        (["-c"], {}, "-c needs a value"),
        (["--nonsense"], {}, "unknown argument --nonsense"),
        (["-c", "h:1", "-f", "ab" * 32, "-u", "a"], {"DOCKER_INFO_STATUS": "1"}, "docker does not answer"),
        (
            ["-c", "h:1", "-f", "ab" * 32, "-u", "a"],
            {"DOCKER_EXISTING": "1"},
            "there is a container kongdp-data-plane-",
        ),
        (["-c", "127.0.0.1:1", "-f", "ab" * 32, "-u", "a"], {}, "failed to fetch control plane 127.0.0.1:1"),
        (["-c", "h:1", "-f", "ab" * 32, "-u", "a", "--password-file", "/nowhere"], {}, "cannot read /nowhere"),
    ],
)
def test_each_mistake_has_one_clear_message(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    """On stderr, with exit code 1."""

    async def scenario(_plane: ControlPlane, host: Host) -> None:
        code, _out, err = await host.run(*arguments, **environment)
        assert code == 1
        assert err.startswith("Error:  ")
        assert message in err

    play(scenario, tmp_path)


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A second run on one machine must choose another port."""

    async def scenario(plane: ControlPlane, host: Host) -> None:
        taken = await asyncio.start_server(host._answer, "127.0.0.1", host.proxy_port)
        code, _out, err = await host.run(*await as_admin(plane, tmp_path))
        taken.close()
        assert (code, f"port {host.proxy_port} is in use" in err) == (1, True)

    play(scenario, tmp_path)


def test_a_password_is_asked_for_only_on_a_terminal(tmp_path: Path) -> None:
    """Without one the two other ways are named."""

    async def scenario(plane: ControlPlane, host: Host) -> None:
        code, _out, err = await host.run(*named(plane), "-u", "admin")
        assert code == 1
        assert "use --password-file or --token-file" in err

    play(scenario, tmp_path)


def test_help_needs_nothing(tmp_path: Path) -> None:
    """It lists the options and ends well."""

    async def scenario(_plane: ControlPlane, host: Host) -> None:
        code, out, _err = await host.run("--help")
        assert code == 0
        assert "--token-file FILE" in out

    play(scenario, tmp_path)
