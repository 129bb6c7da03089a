"""What is installed and what the image runs: a wheel built as the Dockerfile builds it, in an environment of its own, started by the
Dockerfile's ENTRYPOINT and CMD with the Dockerfile's ENV. No Docker and no network is needed.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from kongdp import compiled
from kongdp.process.supervisor import END_SIGNALS
from kongdp.settings import load_settings
from kongdp.settings.model import ROWS
from kongdp.settings.rules import opened
from tests.support import shared
from tests.support.dockerfile import Dockerfile, read_dockerfile
from tests.support.supervised import LIMIT_S, until

ROOT = Path(__file__).parents[1]
DOCKERFILE = read_dockerfile(ROOT / "Dockerfile")
IMAGE_ENVIRONMENT = "/opt/kongdp"
KERNEL = ROOT / "kongdp/http1/_head.pyx"
GENERATED = ROOT / "build/cython"
BUILD_LIB = f"build/lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
COMPILER = shutil.which(os.environ.get("CC", "cc"))
BUILD_S_MAX = 600
BUILT = re.compile(r".*\.(so|c|pyc|pyc\.\d+)|_compiled_from")  # .pyc.1234: one that is being written
# Modules that are part of a declared distribution's interface, which therefore brings them along.
# The models of FastAPI's requests are pydantic's; NiceGUI shows its Socket.IO server; what Jinja2 takes as safe is markupsafe's.
BROUGHT_ALONG = {"pydantic": "fastapi", "socketio": "nicegui", "markupsafe": "jinja2"}


def package_files() -> set[str]:
    """Every file of the package in the checkout but those that building makes."""
    files = (path for path in (ROOT / "kongdp").rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if not BUILT.fullmatch(path.name)}


def build_wheel(directory: Path, *, built: Sequence[str] = (), **environ: str) -> Path:
    """The wheel of what the Dockerfile's builder copies; a copy, so that the checkout keeps no build products.

    `built`: modules that need not be compiled again, where the checkout has them from the sources that it has.
    """
    source = directory / "source"
    for name in DOCKERFILE.sources:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "_head.c"))
        else:
            source.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source)
    if GENERATED.exists():  # what is older than its source is made again
        shutil.copytree(GENERATED, source / GENERATED.relative_to(ROOT))
    for name in () if compiled.why_not else built:
        place = source / BUILD_LIB / Path(*name.split(".")).parent
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(compiled.extension_of(name) or "", place)
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory), str(source), **environ)
    (wheel,) = directory.glob("kongdp-*.whl")
    return wheel


def install(wheel: Path, place: Path) -> Path:
    """An environment with the wheel in it; its dependencies are those of the interpreter that runs the tests."""
    venv.create(place, symlinks=True, with_pip=False)
    run_pip("--python", str(place / "bin/python"), "install", "--no-deps", "--no-index", str(wheel))
    (site,) = place.glob("lib/python*/site-packages")
    # Lines of a .pth file add directories, but no .pth file in those is read: an editable kongdp stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place


def run_pip(*arguments: str, **environ: str) -> None:
    # nobody measures what is built here, and the request path takes a compiler a minute
    environ = {"KONGDP_OPTIMIZE": "-O0", **environ}
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_S_MAX, env={**os.environ, "PIP_NO_INDEX": "1", **environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr


pytestmark = pytest.mark.timeout(2 * BUILD_S_MAX)


@pytest.fixture(scope="module")
def wheel() -> Path:
    """One that the compiler had a part in; all of it would take a minute, and the checkout was built by the same setup.py."""
    built = [name for name in compiled.MODULES if name != "kongdp.http1._head"]
    return Path(shared.once("wheel", lambda: str(build_wheel(shared.directory() / "wheel", built=built))))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    return Path(shared.once("image", lambda: str(install(wheel, shared.directory() / "image" / "kongdp"))))


# -- the wheel


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    """Migrations, scripts, templates, type marker: what the package has in the checkout is what is installed."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name for name in names if not BUILT.fullmatch(name)} == package_files()


def test_wheel_holds_what_is_read_at_run_time(wheel: Path) -> None:
    """The files that are not imported but opened, by name."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {
        "kongdp/py.typed",
        "kongdp/controlplane/cluster/runtime-setup.sh",
        "kongdp/controlplane/store/migrations/env.py",
        "kongdp/controlplane/store/migrations/versions/v0001_first_release.py",
    } <= names


@pytest.mark.skipif(not KERNEL.exists() or COMPILER is None, reason="needs the kernel's source and a C compiler")
def test_wheel_holds_the_compiled_kernel_when_there_is_a_compiler(wheel: Path) -> None:
    """Where a compiler is, as in the image's builder, the kernel of the head passes is compiled."""
    with zipfile.ZipFile(wheel) as archive:
        assert any(re.fullmatch(r"kongdp/http1/_head\..*\.so", name) for name in archive.namelist())


def test_wheel_holds_no_generated_source(wheel: Path) -> None:
    """The C that Cython writes is a build product: installed it would only be weight."""
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if name.endswith((".c", ".pyc"))] == []


@pytest.mark.skipif(not KERNEL.exists(), reason="needs the kernel's source")
def test_wheel_is_built_without_a_compiler_too(tmp_path: Path) -> None:
    """The compiled kernel is optional: without a compiler the wheel is built all the same, in plain Python."""
    with zipfile.ZipFile(build_wheel(tmp_path, CC="/bin/false")) as archive:
        assert not any(name.endswith(".so") for name in archive.namelist())


def test_imports_are_declared_dependencies() -> None:
    """Every distribution that is imported is in pyproject.toml, and what is needed outside the control plane is not in an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = requirements(project["dependencies"])
    of_control_plane = declared | requirements(project["optional-dependencies"]["controlplane"])
    distributions = packages_distributions()
    missing = set()
    for path in (ROOT / "kongdp").rglob("*.py"):
        allowed = of_control_plane if "controlplane" in path.parts else declared
        for module in imported(path) - sys.stdlib_module_names - {"kongdp"}:
            providers = {BROUGHT_ALONG.get(module, ""), *map(canonical, distributions.get(module, [module]))}
            if not providers & allowed:
                missing.add(f"{path.relative_to(ROOT)}: {module}")
    assert missing == set()


def requirements(lines: list[str]) -> set[str]:
    return {canonical(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in lines}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


# -- the Dockerfile


def test_image_listens_where_it_says(tmp_path: Path) -> None:
    """EXPOSE names the ports that a node and a control plane open by default, but for the operators' own ones."""
    places = {"prefix": str(tmp_path)}
    node = load_settings(None, {**DOCKERFILE.env, "KONG_DATABASE": "off"}, places)
    plane = load_settings(None, DOCKERFILE.env, {**places, "role": "control_plane"})
    ports = {
        listener.port
        for settings in (node, plane)
        for name, listeners in opened(settings).items()
        if name not in ("admin_listen", "admin_gui_listen", "kongdp_portal_listen")
        for listener in listeners
    }
    assert ports == DOCKERFILE.ports
    assert DOCKERFILE.env["KONG_PROXY_LISTEN"] == ROWS["proxy_listen"].default


def test_image_runs_as_an_ordinary_user_and_stops_by_draining() -> None:
    """Not root; the stop signal is one that drains."""
    assert int(DOCKERFILE.user) > 0
    assert signal.Signals[DOCKERFILE.stop_signal] in END_SIGNALS


def test_builder_gets_what_it_copies() -> None:
    """.dockerignore lets through what the builder copies, and no build product or secret beside it."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for source in DOCKERFILE.sources:
        assert (ROOT / source).exists()
        assert is_let_through(source, lines), source
    for name in (".git/config", ".venv/bin/python", "tests/test_packaging.py", "kongdp/http1/_head.c", "cluster.key"):
        assert not is_let_through(name, lines), name


def is_let_through(name: str, lines: list[str]) -> bool:
    """The last pattern that names the path or a directory above it decides. Source: Docker's build context rules."""
    passes = True
    parents = [name, *map(str, Path(name).parents)][:-1]
    for line in lines:
        pattern = line.removeprefix("!").replace("**/", "*")
        if any(fnmatch(each, pattern) and (pattern != "*" or "/" not in each) for each in parents):
            passes = line.startswith("!")
    return passes


# -- what the image runs


@dataclass(frozen=True)
class Container:
    """A process started as the image starts it."""

    process: "subprocess.Popen[bytes]"
    environ: dict[str, str]
    directory: Path

    def output(self) -> str:
        return (self.directory / "stdout").read_text()

    def errors(self) -> str:
        return (self.directory / "stderr").read_text()

    def stop(self) -> int:
        """The exit code after the image's stop signal."""
        self.process.send_signal(signal.Signals[DOCKERFILE.stop_signal])
        return self.process.wait(LIMIT_S)

    def run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        """Another command in the same container."""
        return subprocess.run(
            command, env=self.environ, cwd=self.directory, capture_output=True, text=True, timeout=LIMIT_S
        )

    def place(self, setting: str) -> str:
        """Where the node listens, from its health command's output."""
        return until(lambda: re.search(rf"^{setting}: (\S+)$", self.run(DOCKERFILE.healthcheck).stdout, re.M), setting)[
            1
        ]


@contextmanager
def container(installed: Path, directory: Path, arguments: list[str], **environ: str) -> Iterator[Container]:
    """`docker run -e ... image arguments`, without Docker: ENTRYPOINT and ENV as they are, elsewhere and with other paths."""
    given = {**DOCKERFILE.env, "KONG_PREFIX": str(directory / "prefix"), **environ}
    given["PATH"] = given["PATH"].replace(IMAGE_ENVIRONMENT, str(installed)).replace("$PATH", "/usr/bin:/bin")
    with (directory / "stdout").open("wb") as stdout, (directory / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [*DOCKERFILE.entrypoint, *(arguments or DOCKERFILE.command)],
            env=given,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield Container(process, given, directory)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def fetch(url: str) -> tuple[int, bytes]:
    """(status, body), or (0, ...) while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, ConnectionError) as error:
        return 0, str(error).encode()


@pytest.mark.system
def test_image_runs_a_node_that_serves_and_drains(installed: Path, tmp_path: Path) -> None:
    """`docker run` with a declarative configuration: ready, proxying, healthy, logging to stdout; the stop signal ends it with 0."""
    environ = {
        "KONG_DATABASE": "off",
        "KONG_DECLARATIVE_CONFIG": str(ROOT / "conf/kong.yml"),
        "KONG_PROXY_LISTEN": "127.0.0.1:0",
        "KONG_STATUS_LISTEN": "127.0.0.1:0",
        "KONG_ADMIN_LISTEN": "off",
        "KONG_NGINX_WORKER_PROCESSES": "1",
    }
    with container(installed, tmp_path, [], **environ) as node:
        until(lambda: "ready on" in node.errors() or node.process.poll() is not None, "the node listens")
        assert node.process.poll() is None, node.errors()
        status, proxy = (f"http://{node.place(name)}" for name in ("status_listen", "proxy_listen"))
        until(lambda: fetch(f"{status}/status/ready")[0] == 200, "the configuration is in force")
        code, body = fetch(f"{proxy}/nothing-there")
        assert (code, b"no Route matched with those values" in body) == (404, True)
        health = node.run(DOCKERFILE.healthcheck)
        assert health.returncode == 0, health.stdout + health.stderr
        assert node.stop() == 0, node.errors()
        assert '"GET /nothing-there HTTP/1.1" 404' in node.output()
    assert "Traceback" not in node.errors()


@pytest.mark.system
def test_image_runs_a_control_plane(installed: Path, tmp_path: Path) -> None:
    """`docker run image control-plane run`: the database is made by the installed migrations, the API answers, a signal ends it with 0."""
    environ = {
        "KONG_ADMIN_LISTEN": "127.0.0.1:0",
        "KONG_ADMIN_GUI_LISTEN": "off",
        "KONGDP_PORTAL_LISTEN": "off",
        "KONG_CLUSTER_LISTEN": "127.0.0.1:0",
        "KONGDP_CLUSTER_TELEMETRY_LISTEN": "127.0.0.1:0",
    }
    with container(installed, tmp_path, ["control-plane", "run"], **environ) as plane:
        until(lambda: "control plane ready" in plane.output() or plane.process.poll() is not None, "it is ready")
        assert plane.process.poll() is None, plane.errors()
        place = re.search(r"Admin API on (\S+?),", plane.output())
        assert place is not None
        assert fetch(f"http://{place[1]}/status")[0] == 200
        assert plane.stop() == 0, plane.errors()
    assert "Traceback" not in plane.errors()


@pytest.mark.system
def test_image_says_what_is_missing(installed: Path, tmp_path: Path) -> None:
    """`docker run image` without settings ends with 1 and a hint, as role traditional needs database = off."""
    with container(installed, tmp_path, []) as node:
        assert node.process.wait(LIMIT_S) == 1
    assert "KONG_DATABASE" in node.errors() or "database = off" in node.errors()


def test_installed_package_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The tests above run the wheel's code, and `kongdp version` runs from anywhere."""
    where = subprocess.run(
        [installed / "bin/python", "-c", "import kongdp; print(kongdp.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=True, env={},
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(installed)
    version = subprocess.run(
        [installed / "bin/kongdp", "version"], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, env={}
    )
    assert version.returncode == 0
    assert re.search(r"^compatible with Kong [\d.]+$", version.stdout, re.M)


def test_dockerfile_is_read_whole() -> None:
    """The reader of these tests sees the last stage only, with continued lines joined."""
    assert isinstance(DOCKERFILE, Dockerfile)
    assert DOCKERFILE.env["KONG_NGINX_DAEMON"] == "off"
    assert DOCKERFILE.env["KONG_STATUS_ERROR_LOG"] == "/dev/stderr"
    assert DOCKERFILE.entrypoint == ["kongdp"]
    assert "kongdp" in DOCKERFILE.sources
