"""The acceptance script of the walkthrough (section 16) in a browser, against real processes.

The steps are its numbers. The copied command is run as copied, on a terminal, with the stand-in for docker.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import Watch, new_context, settled, sign_in, violations
from tests.support.cluster import DataPlane, environment, kongdp, wait_for
from tests.support.cluster import http as ask
from tests.system.console.conftest import ConsolePlane, Docker

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (shutil.which("script") and shutil.which("curl") and shutil.which("openssl")),
        reason="script, curl and openssl are needed to run the copied command",
    ),
]
SPEC = """openapi: 3.0.3
info: {title: Orders, version: 1.0.0}
paths: {/orders: {get: {summary: List orders, responses: {"200": {description: Some orders}}}}}
"""
Take = Callable[[Page, str], None]


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Docker]:
    """A host with "docker"."""
    made = Docker(tmp_path / "host", sys.executable)
    yield made
    made.stop()


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[DataPlane]:
    """A host on which a data plane is installed, without settings and certificate."""
    made = DataPlane(tmp_path / "by-hand", {})
    made.prefix.mkdir()
    yield made
    kongdp("stop", "-p", str(made.prefix))


@pytest.fixture
def fresh(tmp_path: Path, browser: Browser) -> Iterator[ConsolePlane]:
    """A control plane on which nothing has happened."""
    plane = ConsolePlane(tmp_path / "plane")
    plane.start()
    yield plane
    plane.stop()


def paste(command: str, docker: Docker, password: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody does who pastes it into a terminal and types the password."""
    return subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        input=password + "\n",
        env=docker.environment,
        cwd=docker.directory,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_acceptance_script(
    fresh: ConsolePlane, browser: Browser, docker: Docker, by_hand: DataPlane, upstream: str, picture: Take
) -> None:
    """From sign-in to the 200 on the graph, and on to the end of the script."""
    watch = Watch(fresh.console)
    context = new_context(browser, fresh.console, permissions=["clipboard-read", "clipboard-write"])
    page = watch.over(context.new_page())
    sign_in(page, "admin", fresh.password, "/services")
    _fresh_control_plane(page, picture)
    _service_and_version(page, picture)
    _documents(page, picture)
    version_page = _implementation(page, upstream, picture)
    command = _configure(page, docker, picture)
    _run(page, command, docker, fresh.password, picture)
    _requests(page, docker, version_page, picture)
    _edited_route(page, docker)
    _node_and_certificate(page, picture)
    assert watch.problems == []
    _control_plane_stops(page, fresh, docker, picture)
    # While it was away, the browser said on its console that it could not reach it.
    watch.problems = [each for each in watch.problems if not re.search("net::ERR_|WebSocket", each)]
    _version_goes(page, docker)
    _node_stops(page, docker)
    _node_by_hand(page, by_hand, picture)
    context.close()
    assert watch.problems == []


def menu(page: Page, entry: str) -> None:
    """Go by the menu."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name=entry).click()


def _fresh_control_plane(page: Page, picture: Take) -> None:
    """1: group default is listed; no services."""
    expect(page.get_by_text("No services yet")).to_be_visible()
    picture(page, "01 Service Hub, empty")
    menu(page, "Runtime Manager")
    page.get_by_role("link", name="default").click()
    expect(page.get_by_text("No runtime instances yet")).to_be_visible()


def _service_and_version(page: Page, picture: Take) -> None:
    """2: example_service, v.1 in default."""
    menu(page, "Service Hub")
    page.get_by_role("button", name="New service").first.click()
    page.get_by_label("Display name").fill("example_service")
    page.get_by_label("Description").fill("The shop's orders, from the basket to the doorstep")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="example_service")).to_be_visible()
    page.get_by_role("button", name="New Version").click()
    page.get_by_label("Version Name").fill("v.1")
    expect(page.get_by_label("Runtime group")).to_have_value("default")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="v.1")).to_be_visible()
    expect(page.get_by_role("heading", name="Routes")).to_have_count(0)
    expect(page.get_by_role("heading", name="Plugins")).to_have_count(0)
    picture(page, "02 Version without implementation")


def choose(page: Page, button: str, name: str, content: str) -> None:
    """Upload a file."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files({"name": name, "mimeType": "text/plain", "buffer": content.encode()})


def _documents(page: Page, picture: Take) -> None:
    """The journey's steps 3, 5 and 12: a spec, a document, the portal; what is no spec is refused in words."""
    settled(page)
    choose(page, "Upload Spec", "spec.yaml", "openapi: 3.0.3")
    expect(page.get_by_text("info")).to_be_visible()
    choose(page, "Upload Spec", "spec.yaml", SPEC)
    expect(page.get_by_text("OpenAPI 3.0")).to_be_visible()
    page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name="example_service").click()
    settled(page)
    choose(page, "Upload Document", "orders.md", "# Orders\n\nFrom the **basket** to the doorstep.")
    expect(page.get_by_role("heading", name="Orders")).to_be_visible()
    settled(page).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Publish to Portal").click()
    expect(page.get_by_text("Published", exact=True)).to_be_visible()
    picture(page, "10 Service overview")
    # Edited in place: first a name that the API refuses, said at the field.
    settled(page).get_by_role("button", name="Edit name").click()
    page.get_by_label("Name", exact=True).fill("example/service")
    page.get_by_role("button", name="Save name").click()
    expect(page.get_by_text("only letters, digits, single spaces")).to_be_visible()
    page.get_by_role("button", name="Leave name as it was").click()
    page.get_by_role("button", name="Edit description").click()
    page.get_by_label("Description", exact=True).fill("Orders, from the basket to the doorstep")
    page.get_by_role("button", name="Save description").click()
    expect(page.get_by_text("Orders, from the basket to the doorstep", exact=True)).to_be_visible()
    page.get_by_role("link", name="v.1").click()
    settled(page)


def _implementation(page: Page, upstream: str, picture: Take) -> str:
    """2 and 3: both steps of the dialog; Actions has view, edit, delete."""
    page.get_by_role("button", name="New Implementation").first.click()
    dialog = page.get_by_role("dialog", name="Create Implementation")
    dialog.get_by_label("Name").locator("visible=true").fill("example_gateway_service")
    expect(dialog.get_by_label("Add using URL")).to_be_checked()
    dialog.get_by_label("URL *").fill("http://mock bin")
    dialog.get_by_text("View 6 Advanced Fields").click()
    for label, value in {
        "Retries": "5",
        "Connection Timeout": "60000",
        "Write Timeout": "60000",
        "Read Timeout": "60000",
        "Client Certificate": "",
        "CA Certificates": "",
    }.items():
        expect(dialog.get_by_label(label, exact=True)).to_have_value(value)
    picture(page, "03 Create Implementation, step 1")
    dialog.get_by_role("button", name="Next").click()
    # What is wrong stands at its field, and nothing leads on from there.
    expect(dialog.get_by_text("Error: invalid URL (host: invalid value: mock bin)")).to_be_in_viewport()
    expect(dialog.get_by_role("heading", name="Add a Route")).to_be_hidden()
    dialog.get_by_label("URL *").fill(upstream)
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("heading", name="Add a Route")).to_be_visible()
    dialog.get_by_label("Name").locator("visible=true").fill("mockbin")
    dialog.get_by_label("Method").fill("GET")
    dialog.get_by_label("Path", exact=True).locator("visible=true").fill("/mock")
    expect(dialog.get_by_role("button", name="Add Path")).to_be_visible()
    dialog.get_by_text("View 4 Advanced Fields").click()
    expect(dialog.get_by_label("HTTPS Redirect Status Code")).to_have_value("426")
    expect(dialog.get_by_label("Regex Priority")).to_have_value("0")
    expect(dialog.get_by_role("switch", name="Strip Path")).to_be_checked()
    expect(dialog.get_by_role("switch", name="Preserve Host")).not_to_be_checked()
    picture(page, "04 Create Implementation, step 2")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Routes")).to_be_visible()
    expect(page.get_by_role("link", name="mockbin")).to_be_visible()
    page.get_by_role("button", name="Actions").click()
    for action in ("View configuration", "Edit implementation", "Delete implementation"):
        expect(page.get_by_role("menuitem", name=action)).to_be_visible()
    page.keyboard.press("Escape")
    return page.url


def _configure(page: Page, docker: Docker, picture: Take) -> str:
    """4: Docker tab selected; Copy Script gives one command."""
    menu(page, "Runtime Manager")
    page.get_by_role("link", name="default").click()
    page.get_by_role("link", name="Configure Runtime").first.click()
    expect(page.get_by_role("link", name="Docker")).to_have_attribute("aria-current", "page")
    page.get_by_label("Proxy port").fill(str(docker.proxy_port))
    page.get_by_label("Proxy port").press("Enter")
    page.wait_for_url(f"**port={docker.proxy_port}*")
    settled(page).get_by_role("button", name="Copy Script").click()
    expect(page.get_by_text("Copied")).to_be_attached()
    picture(page, "05 Configure New Runtime")
    command: str = page.evaluate("navigator.clipboard.readText()")
    assert "\n" not in command
    return command


def _run(page: Page, command: str, docker: Docker, password: str, picture: Take) -> None:
    """4 and 5: a wrong password is the login error; the right one starts a node, which is Connected."""
    wrong = paste(command, docker, "wrong")
    assert wrong.returncode == 1
    assert "login to the control plane failed... (Status code: 401)" in wrong.stdout
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_text("No runtime instances yet")).to_be_visible()
    done = paste(command, docker, password)
    assert done.returncode == 0, done.stdout + (docker.directory / "log").read_text()
    assert "Enjoy the flight!" in done.stdout
    # Without a reload: the table is live.
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    expect(page.get_by_text("In sync")).to_be_visible()
    expect(page.get_by_text("Just now")).to_be_visible()
    assert violations(page) == []
    picture(page, "06 Runtime Instances, connected")


def _requests(page: Page, docker: Docker, version_page: str, picture: Take) -> None:
    """6: the stub answers, POST is 404, the version shows each 200 and no 404."""
    proxy = f"http://127.0.0.1:{docker.proxy_port}"
    page.goto(version_page)
    expect(page.get_by_text("No requests in the Last 6 Hours")).to_be_visible()
    answer = ask("GET", f"{proxy}/mock")
    assert (answer.status, answer.body.decode().split(" ")[:2]) == (200, ["GET", "/"])
    assert ask("POST", f"{proxy}/mock").status == 404
    expect(page.get_by_text("1 in the Last 6 Hours")).to_be_visible()
    expect(page.get_by_role("row", name="200 1 100.0%")).to_be_visible()
    # The list below the graph and the graph's name are as live as the sum.
    assert ask("GET", f"{proxy}/mock").status == 200
    expect(page.get_by_role("row", name="200 2 100.0%")).to_be_visible()
    expect(page.get_by_role("img", name="Status Codes: 200: 2")).to_be_visible()
    expect(page.get_by_text("2 in the Last 6 Hours")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="404")).to_have_count(0)
    assert violations(page) == []
    picture(page, "07 Status Codes")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "start,seconds,status_code,requests"
    assert [line.split(",")[2] for line in lines[1:]] == ["200"] * len(lines[1:])
    assert sum(int(line.rpartition(",")[2]) for line in lines[1:]) == 2


def _edited_route(page: Page, docker: Docker) -> None:
    """8: the route at /mock2 is in effect soon after Save."""
    proxy = f"http://127.0.0.1:{docker.proxy_port}"
    page.reload()
    settled(page).get_by_role("row").filter(has_text="mockbin").get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit route")
    dialog.get_by_label("Path", exact=True).fill("/mock2")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("/mock2", exact=True)).to_be_visible()
    wait_for("the edited route", lambda: ask("GET", f"{proxy}/mock2").status == 200)
    assert ask("GET", f"{proxy}/mock").status == 404


def _version_goes(page: Page, docker: Docker) -> None:
    """10: deleting the version asks, naming what goes, and takes its entities off the node."""
    proxy = f"http://127.0.0.1:{docker.proxy_port}"
    menu(page, "Service Hub")
    page.get_by_role("link", name="example_service").click()
    expect(page.locator(".tile").filter(has_text="Avg. Latency")).to_contain_text(re.compile(r"\d ms"))
    # The figures above the graph are as live as it is.
    ever = page.locator(".tile").filter(has_text="Requests ever").locator(".tile-value")
    had = ever.inner_text()
    assert ask("GET", f"{proxy}/mock2").status == 200
    expect(ever).not_to_have_text(had)
    page.get_by_role("link", name="v.1").click()
    settled(page).get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Delete version").click()
    question = page.get_by_role("dialog", name="Delete version")
    for going in (
        "the version v.1",
        "the Gateway service example_gateway_service",
        "the route mockbin and its plugins",
    ):
        expect(question.get_by_text(going)).to_be_visible()
    question.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No versions yet")).to_be_visible()
    wait_for("the route is gone", lambda: ask("GET", f"{proxy}/mock2").status == 404)


def _control_plane_stops(page: Page, plane: ConsolePlane, docker: Docker, picture: Take) -> None:
    """7: traffic goes on, and a restarted node serves; the page says that it is stale, and goes on by itself at the end."""
    proxy = f"http://127.0.0.1:{docker.proxy_port}"
    page.goto("/runtimes/default")
    settled(page).get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    plane.stop()
    expect(page.get_by_text("no connection to the control plane")).to_be_visible()
    picture(page, "11 Runtime Instances, stale")
    assert ask("GET", f"{proxy}/mock2").status == 200
    docker.restart()
    assert ask("GET", f"{proxy}/mock2").status == 200
    plane.start()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()


def _node_by_hand(page: Page, node: DataPlane, picture: Take) -> None:
    """8.2: a certificate that is shown once, with a script; where it is run a data plane is Connected."""
    page.get_by_role("link", name="Configure Runtime").first.click()
    page.get_by_role("link", name="Linux").click()
    settled(page).get_by_role("button", name="Generate Certificate").click()
    page.get_by_role("button", name="Copy Script").click()
    picture(page, "12 Configure New Runtime, Linux")
    script: str = page.evaluate("navigator.clipboard.readText()")
    page.reload()
    expect(settled(page).get_by_text("-----BEGIN")).to_have_count(0)
    # The directory is the administrator's on a real host.
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script.replace("/etc/kongdp", str(node.prefix))],
        env=environment(node.env | {"PATH": programs}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr + node.log()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()


def _node_stops(page: Page, docker: Docker) -> None:
    """7: a node that stops is not Connected any more; its row stays."""
    page.goto("/runtimes/default")
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    docker.stop()
    expect(page.get_by_text("Disconnected", exact=True)).to_be_visible()


def _node_and_certificate(page: Page, picture: Take) -> None:
    """9: the certificate's end is shown; a renewal gives a second valid one while the first still works."""
    menu(page, "Certificates")
    rows = page.get_by_role("row").filter(has_text="days left")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Renew now").click()
    expect(rows).to_have_count(2)
    # The password that was wrong is among the refused requests, without what was typed.
    expect(page.get_by_role("row").filter(has_text="wrong user name or password")).to_be_visible()
    picture(page, "08 Certificates")
    page.locator("tbody a").first.click()
    expect(page.get_by_role("heading", name="Status", exact=True)).to_be_visible()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    assert violations(page) == []
    picture(page, "09 Runtime instance")
