"""One Chromium for the tests of this package, and a control plane for those that may share it."""

import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browser import CHROMIUM, Watch, chromium, come_in, new_context, overflow, settled, violations
from tests.support.cluster import ControlPlane, free_port, kongdp
from tests.support.hostile import is_clean
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, StandInProvider, provider

WIDTHS = (1200, 820, 390)
ARTIFACTS = Path(__file__).parents[3] / ".artifacts" / "console"
# Answers what the set-up script asks of docker; `run` starts a real data plane on this machine with the container's settings.
DOCKER = """#!/bin/sh
start_node() {
  set -a; . "$STAND_IN/settings"; set +a
  KONG_STATUS_LISTEN=127.0.0.1:$STATUS_PORT KONG_NGINX_WORKER_PROCESSES=1 KONG_ADMIN_LISTEN=off \\
    "$PYTHON" -P -m kongdp start -p "$STAND_IN/node" >>"$STAND_IN/log" 2>&1 || exit 1
  echo 0123456789abcdef
}
case $1 in
  info) exit 0 ;;
  ps) ;;
  image) exit 0 ;;
  run)
    while [ $# -gt 0 ]; do
      case $1 in
        --env-file) settings=$2 ;;
        -p) port=${2%%:*} ;;
      esac
      shift
    done
    sed -e s/host.docker.internal/127.0.0.1/ -e "s/^KONG_PROXY_LISTEN=.*/KONG_PROXY_LISTEN=127.0.0.1:$port/" \\
      "$settings" >"$STAND_IN/settings"
    start_node
    ;;
  start) start_node ;;
esac
"""


class ConsolePlane(ControlPlane):
    """A control plane with its console."""

    def __init__(self, prefix: Path) -> None:
        super().__init__(prefix)
        self.console_port = free_port()
        self.secure_port = free_port()
        places = f"127.0.0.1:{self.console_port}, 127.0.0.1:{self.secure_port} ssl"
        self.settings = {"KONG_ADMIN_GUI_LISTEN": places}

    @property
    def console(self) -> str:
        """Base URL of the console."""
        return f"http://localhost:{self.console_port}"


class Docker:
    """A directory for PATH with the stand-in for docker, and what it started."""

    def __init__(self, directory: Path, python: str) -> None:
        directory.mkdir(parents=True)
        program = directory / "docker"
        program.write_text(DOCKER)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.directory = directory
        self.proxy_port = free_port()
        self.environment = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "HOME": str(directory),
            "STAND_IN": str(directory),
            "PYTHON": python,
            "STATUS_PORT": str(free_port()),
        }

    def restart(self) -> None:
        """`docker restart`: the node ends and begins again, with what it was started with."""
        self.stop()
        done = subprocess.run(
            [self.directory / "docker", "start", "0123456789abcdef"], env=self.environment, check=False, timeout=90
        )
        assert done.returncode == 0, (self.directory / "log").read_text()

    def stop(self) -> None:
        """Stop the data plane, however far it came."""
        kongdp("stop", "-p", str(self.directory / "node"))


def add_nodes(plane: ConsolePlane, group_id: str, hostnames: Sequence[str], **values: Any) -> list[str]:
    """Rows of nodes as the hub writes them, seen just now and for the time of a test; their ids."""
    seen = time.time() + 60
    usual = {
        "group_id": group_id,
        "ip": "10.0.0.1",
        "version": "3.9.1",
        "config_hash": "0" * 32,
        "sync_status": "normal",
        "labels": "{}",
        "cert_expiry": seen + 86_400 * 90,
        "last_error": "null",
        "last_seen": seen,
        "created_at": seen,
        "updated_at": seen,
    }
    rows = [{**usual, **values, "id": str(uuid.uuid4()), "hostname": hostname} for hostname in hostnames]
    names = list(rows[0])
    statement = f"INSERT INTO nodes ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
    with contextlib.closing(sqlite3.connect(plane.prefix / "controlplane.db", timeout=20)) as connection, connection:
        connection.executemany(statement, rows)
    return [str(row["id"]) for row in rows]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for this package: while it is there, this thread has a running loop, which other tests do not want."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def organisation() -> Iterator[StandInProvider]:
    """The OpenID provider by which people may come into the shared control plane."""
    with provider() as found:
        yield found


@pytest.fixture(scope="package")
def console(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser, organisation: StandInProvider
) -> Iterator[ConsolePlane]:
    """A control plane that tests share: each makes what it needs under names of its own."""
    plane = ConsolePlane(tmp_path_factory.mktemp("console"))
    plane.settings |= {
        "KONGDP_PORTAL_LISTEN": f"127.0.0.1:{free_port()}",
        "KONGDP_OIDC_ISSUER": organisation.issuer,
        "KONGDP_OIDC_CLIENT_ID": CLIENT_ID,
        "KONGDP_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "KONGDP_OIDC_ROLES": "gateway-editors=editor",
    }
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture
def watch(console: ConsolePlane) -> Iterator[Watch]:
    """Fails a test whose pages said or asked what they should not."""
    found = Watch(console.console)
    yield found
    assert found.problems == []


@pytest.fixture
def visitor(browser: Browser, console: ConsolePlane, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Makes a page of a visitor with a session of their own; the administrator unless someone else is named."""
    contexts: list[BrowserContext] = []

    def visit(path: str = "", name: str = "admin", password: str | None = None, **options: Any) -> Page:
        context = new_context(browser, console.console, **options)
        contexts.append(context)
        come_in(context, console.admin, console.console, name, console.password if password is None else password)
        page = watch.over(context.new_page())
        if path:
            page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a screenshot as an artefact of the run."""

    def take(page: Page, name: str) -> None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(ARTIFACTS / f"{re.sub(r'[^a-z0-9-]+', '-', name.lower())}.png"))

    return take


def looked_at(page: Page, path: str, picture: Callable[[Page, str], None]) -> list[str]:
    """What is wrong with a screen: axe in the light, three widths, contrast in the dark, payloads that ran. Keeps a picture."""
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(path)
    settled(page)
    expect(page.locator("h1")).to_be_visible()
    found = [f"{path}: {each}" for each in violations(page)]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if (wider := overflow(page)) > 0:
            found.append(f"{path} is {wider} px too wide at {width}")
    picture(page, f"screen {path}")
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += [f"{path} in the dark: {each}" for each in violations(page, "color-contrast")]
    if not is_clean(page):
        found.append(f"{path}: a payload has run")
    return found
