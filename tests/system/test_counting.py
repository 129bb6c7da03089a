"""Every request that matched a route is counted once, whatever is killed and cut: clients, /metrics and activity agree."""

import http.client
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cluster import ControlPlane, DataPlane, enrolled_with, free_port, wait_for
from tests.support.cluster import http as ask
from tests.support.counting import CountedLoad, Scene, Tally
from tests.support.cut_proxy import CutProxy

pytestmark = pytest.mark.system

SEED = 20261123
# A name of a route -> what is asked of it, and the statuses that a client may see.
ASKED = {
    "plain": ("/plain/200", "/plain/200", "/plain/200", "/plain/404", "/plain/500"),
    "other": ("/other/201", "/other/503", "/other/close"),
    "refused": ("/refused/200",),
    "unserved": ("/unserved",),
    "secure": ("/secure",),
    "": ("/nowhere",),
}
SEEN = {
    "plain": {200, 404, 500},
    "other": {201, 503, 502},
    "refused": {502},
    "unserved": {503},
    "secure": {426},
    "": {404},
}
CHOICES = [(name, path) for name, paths in ASKED.items() for path in paths]

Counts = Counter[tuple[str, int]]
LINE = re.compile(r'kong_http_requests_total\{service="[^"]*",route="([^"]*)",code="(\d+)",.*\} (\d+)')


def make_entities(plane: ControlPlane, upstream_port: int) -> dict[str, str]:
    """Services and routes of ASKED, and a prometheus plugin with every group on; route id -> name."""
    services = {"plain": upstream_port, "refused": free_port()}
    for name, port in services.items():
        body = {"name": name, "url": f"http://127.0.0.1:{port}", "retries": 0}
        assert ask("POST", f"{plane.admin}/services", body).status == 201
    routes = {
        "plain": {"service": {"name": "plain"}},
        "other": {"service": {"name": "plain"}},
        "refused": {"service": {"name": "refused"}},
        "unserved": {},
        "secure": {"service": {"name": "plain"}, "protocols": ["https"]},
    }
    names = {}
    for name, fields in routes.items():
        made = ask("POST", f"{plane.admin}/routes", {"name": name, "paths": [f"/{name}"], **fields})
        assert made.status == 201, made.body
        names[made.json()["id"]] = name
    switches = ("status_code_metrics", "latency_metrics", "bandwidth_metrics", "upstream_health_metrics")
    plugin = {"name": "prometheus", "config": dict.fromkeys(switches, True)}
    assert ask("POST", f"{plane.admin}/plugins", plugin).status == 201
    return names


def exposed(node: DataPlane) -> Counts:
    """(route, code) -> requests, of /metrics."""
    found: Counts = Counter()
    answer = ask("GET", node.status + "/metrics")
    if answer.status != 200:
        raise OSError(answer.body.decode())
    for route, code, count in LINE.findall(answer.body.decode()):
        found[route, int(code)] += int(count)
    return found


def recorded(plane: ControlPlane, names: dict[str, str]) -> Counts:
    """The same of the activity store."""
    routes = ask("GET", f"{plane.admin}/v2/control-planes/default/activity?frame=1h").json()["routes"]
    return Counter(
        {(names[route], int(code)): count for route, codes in routes.items() for code, count in codes.items()}
    )


def observed(node: DataPlane) -> Counter[str]:
    """Route -> observations of the request latency."""
    text = ask("GET", node.status + "/metrics").body.decode()
    found = re.findall(r'kong_request_latency_ms_count\{service="[^"]*",route="([^"]*)",.*\} (\d+)', text)
    return Counter({route: int(count) for route, count in found})


class Scraper:
    """Scrapes over and over; collects what Prometheus must never see: a counter that falls, a histogram at odds with itself."""

    def __init__(self, node: DataPlane) -> None:
        self._node = node
        self._stop = threading.Event()
        self._last: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.count = 0
        self.offences: list[str] = []

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            try:
                answer = ask("GET", self._node.status + "/metrics")
            except (OSError, http.client.HTTPException):
                continue  # between two agents nobody answers
            if answer.status == 200:  # a new agent says 503 until it has read its configuration
                self.count += 1
                self._judge(answer.body.decode())

    def _judge(self, text: str) -> None:
        counters = set(re.findall(r"^# TYPE (\S+) (?:counter|histogram)$", text, re.MULTILINE))
        now = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            family = re.sub(r"_(bucket|count|sum)$", "", name.partition("{")[0])
            if (family in counters or name.partition("{")[0] in counters) and "process" not in name:
                now[name] = float(value)
        for name, value in now.items():
            if value < self._last.get(name, 0):
                self.offences.append(f"{name} fell from {self._last[name]} to {value}")
            if name.partition("{")[0].endswith("_bucket") and 'le="+Inf"' in name:
                count = name.replace("_bucket{", "_count{").replace(',le="+Inf"', "")
                if now.get(count) != value:
                    self.offences.append(f"{name} is {value}, {count} is {now.get(count)}")
        self.offences += [f"{name} is gone" for name in self._last.keys() - now.keys()]
        self._last = now


class Chaos:
    """What happens to the processes and the line while the load runs. Every choice comes from one seed."""

    def __init__(self, plane: ControlPlane, node: DataPlane, proxy: CutProxy) -> None:
        self._plane = plane
        self._node = node
        self._proxy = proxy
        self._random = random.Random(SEED)
        self._plane_up = threading.Event()
        self._plane_up.set()
        self._killed: set[int] = set()
        self.done: Counter[str] = Counter()
        self._deeds: dict[str, Callable[[], bool]] = {
            "worker killed": lambda: self._kill("worker"),
            "agent killed": lambda: self._kill("agent"),
            "line cut": self._cut,
            "frames repeated": self._repeat,
            "configuration changed": self._edit,
        }

    def run(self, is_over: Callable[[], bool], plane_away_s: float, rounds: int, load_s_max: float) -> None:
        """`rounds` times every deed, and in the first round the control plane is away; then wait for the end of the load.

        No process is killed twice within its supervisor's patience: it would wait longer each time before the next start.
        """
        away = threading.Thread(target=self._take_plane_away, args=(plane_away_s,))
        for number in range(rounds):
            self._do("frames repeated")
            if number == 0:
                away.start()
            kills = ["worker killed"] * 3 + ["agent killed"] * 2
            self._random.shuffle(kills)
            for name in [*kills, "configuration changed", "line cut", "configuration changed"]:
                time.sleep(self._random.uniform(0.2, 0.8))
                self._do(name)
        away.join()
        wait_for("the load is over", is_over, load_s_max)

    def _do(self, name: str) -> None:
        try:
            self.done[name] += self._deeds[name]()
        except OSError:
            pass  # the process, or its API, is gone at this moment

    def _kill(self, role: str) -> bool:
        due = [pid for pid in self._node.children(role) if pid not in self._killed]
        if due:
            self._killed.add(victim := self._random.choice(due))
            os.kill(victim, signal.SIGKILL)
        return bool(due)

    def _cut(self) -> bool:
        wait_for("the line for counters", self._is_linked)
        self._proxy.cut()
        return True

    def _repeat(self) -> bool:
        wait_for("the line for counters", self._is_linked)
        before = self._proxy.bytes_swallowed
        self._proxy.swallow_answers()
        wait_for("an acknowledgement is lost", lambda: self._proxy.bytes_swallowed > before)
        self._proxy.cut()
        return True

    def _is_linked(self) -> bool:
        counters = ask("GET", self._node.status + "/status/sync").json()["counters"]
        return bool(counters.get("is_connected"))

    def _edit(self) -> bool:
        self._plane_up.wait(60)
        tags = [f"t{self._random.randrange(1_000_000)}"]
        return ask("PATCH", f"{self._plane.admin}/routes/plain", {"tags": tags}).status == 200

    def _take_plane_away(self, seconds: float) -> None:
        self._plane_up.clear()
        self._plane.stop(signal.SIGKILL)
        time.sleep(seconds)
        self._plane.start()
        self._plane_up.set()
        self.done["control plane away"] += 1


@contextmanager
def staged(
    tmp_path: Path, nodes: Callable[..., DataPlane]
) -> Iterator[tuple[Scene, ControlPlane, DataPlane, CutProxy, dict[str, str]]]:
    """Control plane, two workers, an upstream, and a line for counters that can be cut."""
    plane = ControlPlane(tmp_path / "cp")
    plane.start()
    with Scene() as scene:
        proxy = scene.call(lambda: _proxy(plane.telemetry_port))
        names = make_entities(plane, scene.upstream())
        settings = enrolled_with(plane, tmp_path / "dp")
        settings["KONG_CLUSTER_TELEMETRY_ENDPOINT"] = f"127.0.0.1:{proxy.port}"
        node = nodes(settings, workers=2)
        node.start()
        wait_for("in sync", lambda: plane.node()["in_sync"])
        try:
            yield scene, plane, node, proxy, names
        finally:
            node.stop()
            scene.call(proxy.stop)
            plane.stop()


async def _proxy(port: int) -> CutProxy:
    proxy = CutProxy(port)
    await proxy.start()
    return proxy


def why_unequal(tally: Tally, metrics: Counts, activity: Counts) -> list[str]:
    """What contradicts "counted once": one line for each route and code at odds."""
    problems = [
        f"{key}: {metrics[key]} in /metrics, {activity[key]} in the activity store"
        for key in metrics.keys() | activity.keys()
        if metrics[key] != activity[key]
    ]
    seen = Counter({key: count for key, count in tally.answers.items() if key[0]})
    problems += [
        f"{key}: {count} seen by clients, {metrics[key]} counted" for key, count in seen.items() if count > metrics[key]
    ]
    # What clients did not see the end of may be counted, as what was sent to them or as 499; never more than that.
    for name in SEEN:
        beyond = sum(count - seen[key] for key, count in metrics.items() if key[0] == name)
        if beyond > tally.silent[name]:
            problems.append(
                f"route {name!r}: {beyond} counted that nobody saw, but only {tally.silent[name]} were silent"
            )
    unknown = [key for key in metrics if key[0] not in SEEN or key[1] not in {*SEEN[key[0]], 499}]
    return problems + [f"{key}: nobody asked for that" for key in unknown]


@pytest.mark.parametrize(
    ("count", "connections", "pause_s", "plane_away_s", "rounds"),
    [
        pytest.param(20_000, 24, 0.02, 6, 1, id="short"),
        pytest.param(200_000, 64, 0.04, 30, 5, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_every_request_is_counted_once_whatever_happens(
    tmp_path: Path,
    nodes: Callable[..., DataPlane],
    count: int,
    connections: int,
    pause_s: float,
    plane_away_s: float,
    rounds: int,
) -> None:
    """Sums at clients, in /metrics and in the activity store are equal per route and code, but for requests that saw no answer."""
    with staged(tmp_path, nodes) as (scene, plane, node, proxy, names):
        chaos = Chaos(plane, node, proxy)
        with Scraper(node) as scraper:
            began = time.monotonic()

            async def load() -> Tally:
                return await CountedLoad(
                    node.proxy_port,
                    CHOICES,
                    count,
                    connections=connections,
                    pause_s=pause_s,
                    impatience=0.001,
                    seed=SEED,
                ).run()

            running = scene.start(load)
            chaos.run(running.done, plane_away_s, rounds, load_s_max=count / 300)
            tally = running.result()
            took_s = time.monotonic() - began
            metrics = wait_for("an agent that answers", lambda: exposed(node))
            wait_for("the record is complete", lambda: recorded(plane, names) == metrics)
        activity = recorded(plane, names)
        print(
            f"{tally.total} requests in {took_s:.1f} s, {tally.silent.total()} silent {dict(tally.silent)}; {dict(chaos.done)}"
        )
        print(
            f"{scraper.count} scrapes; {proxy.count_connections} lines for counters, {proxy.bytes_swallowed} bytes of answers lost"
        )
        print(f"seen {dict(sorted(tally.answers.items()))}\ncounted {dict(sorted(metrics.items()))}")
        assert why_unequal(tally, metrics, activity) == []
        assert metrics == exposed(node)
        assert scraper.offences == []
        # A worker that is killed within the microsecond of counting may leave its last request without its latency.
        latencies = observed(node)
        missing = [sum(n for key, n in metrics.items() if key[0] == name) - latencies[name] for name in SEEN if name]
        assert min(missing) >= 0
        assert sum(missing) <= chaos.done["worker killed"]
        assert tally.total == count
        assert tally.silent.total() < count / 50
        assert all(chaos.done[deed] for deed in (*chaos._deeds, "control plane away")), chaos.done
