"""Processes of a bench: started on chosen cores, found by parent, and read from /proc.

In: pids.  Out: CPU time, memory, connections.  Reads /proc only: nothing here costs the measured process anything.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED = "01"


class CommandError(Exception):
    """A command failed; the text is the command, its exit code and its own words."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pinned(command: Sequence[str], cores: Iterable[int]) -> list[str]:
    """The command, to be run on these cores and by its children."""
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *command]


def run_pinned(command: Sequence[str], cores: Iterable[int], env: dict[str, str] | None = None) -> None:
    """Run to its end a command that puts itself into the background; its own words when it fails."""
    done = subprocess.run(pinned(command, cores), env=env, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise CommandError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")


def children(parent: int) -> list[int]:
    """Pids of the direct children."""
    found = []
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            try:
                stat = (directory / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(directory.name))
    return sorted(found)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    return [pid, *(one for child in children(pid) for one in family(child))]


def command_line(pid: int) -> str:
    """What the process was started as; empty when it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time so far of all threads of the processes, as the scheduler counts it."""
    total = 0
    for pid in pids:
        try:
            tasks = list((PROC / str(pid) / "task").iterdir())
        except OSError:
            continue
        for task in tasks:
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total


def user_share(pids: Iterable[int]) -> tuple[int, int]:
    """Clock ticks in user and in system mode so far: only their relation is good for anything in a short run."""
    user = system = 0
    for pid in pids:
        try:
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user, system


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory; pages that several of them share count for each."""
    return sum(_kib(pid, "status", "VmRSS") for pid in pids) / 1024


def proportional_mib(pids: Iterable[int]) -> float:
    """Memory with shared pages divided among those who share them."""
    return sum(_kib(pid, "smaps_rollup", "Pss") for pid in pids) / 1024


def _kib(pid: int, file: str, name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+)", (PROC / str(pid) / file).read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def count_descriptors(pid: int) -> int:
    """Open descriptors; 0 when the process is gone."""
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))
    except OSError:
        return 0


def count_connections(pid: int, port: int) -> int:
    """Established connections that the process holds on its own local port."""
    held = set()
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            held.add(os.readlink(entry))
        except OSError:
            continue
    local = f":{port:04X}"
    count = 0
    for line in (PROC / "net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(local) and fields[3] == ESTABLISHED and f"socket:[{fields[9]}]" in held:
            count += 1
    return count
