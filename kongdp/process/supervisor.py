"""The supervisor: binds sockets, makes counter segments, starts the agent and the workers, and keeps them running.

It has no event loop and touches no traffic: one selector over the children's lifelines and a socket that signals
wake. This file holds the life of a node (its phases), the answer to signals, and what the end of a child means; how
children are started and watched is in crew.py, a reload's steps in reload.py.

In: settings, a function that reads them again, the commands of children.  Out: an exit code: 0 after an ordered end,
1 when the node could not start or go on, with `problems` saying why. `run` belongs to the main thread: it installs
signal handlers.
Cold. Source: ours; the table of events is in the architecture, start-up failures as in uvicorn's multiprocess
supervisor.
"""

import logging
import os
import resource
import selectors
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kongdp.process import crew, logs, state
from kongdp.process.channel import SOCKET_NAME
from kongdp.process.children import AGENT, WORKER, Child, Generation
from kongdp.process.crew import Crew, Ended, Slot
from kongdp.process.listeners import ListenError, Listeners
from kongdp.process.reload import AGENT_STOP_S, Reload, drain_limit, surplus
from kongdp.process.segments import SegmentError, Segments, shared_memory
from kongdp.settings import Settings, SettingsError, opened

log = logging.getLogger(__name__)

# -P: a directory called kongdp where the operator happens to stand is not what children shall import.
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    AGENT: (sys.executable, "-P", "-m", "kongdp.process.agent"),
    WORKER: (sys.executable, "-P", "-m", "kongdp.process.worker"),
}
START_ATTEMPTS: Final = 3  # a child that dies this often before the node was ever ready: the node does not start
FAST_STOP_S: Final = 3.0  # what children may take after a second signal
TURN_S_MAX: Final = 1.0
CLOCK_GAP_S: Final = 1.0  # a turn that took this much longer than asked for was a stopped machine, not silent children
UNCHANGEABLE: Final = ("prefix", "role", "database", "node_id")  # a reload cannot change what the node is
END_SIGNALS: Final = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
SIGNALS: Final = (*END_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class StartError(Exception):
    """The node cannot start; `problems` has one sentence for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Supervisor:
    """A node from start to end; `run` once."""

    def __init__(
        self,
        settings: Settings,
        *,
        read_settings: Callable[[], Settings],
        on_ready: Callable[[], None] = lambda: None,
        on_settings: Callable[[Settings], None] = lambda settings: None,  # may raise LogTargetError
        commands: Mapping[str, Sequence[str]] = COMMANDS,
        settings_file: str | None = None,
        cores: int | None = None,
    ) -> None:
        self.phase = "starting"  # -> running -> draining (workers) -> stopping (agent) -> ended
        self.problems: list[str] = []
        self.boot_id = str(uuid.uuid4())
        self.node_id = ""
        self._generation = Generation(1, settings)
        self._paths = settings.paths
        self._read_settings = read_settings
        self._on_ready = on_ready
        self._on_settings = on_settings
        self._settings_file = settings_file
        self._cores = cores or len(os.sched_getaffinity(0))
        self._selector = selectors.DefaultSelector()
        self._listeners = Listeners()
        self._segments = Segments(settings.kongdp_counter_segment_bytes)
        self._crew = Crew(commands, self._spec, self._segments, self._selector)
        self._reload: Reload | None = None
        self._reload_again = False
        self._reload_report: dict[str, Any] = {"count": 0, "problems": []}
        self._wakeup = socket.socketpair()
        self._run_dir_fd = -1
        self._lock_fd = -1
        self._rates_fd = -1
        self._rate_lanes = 0
        self._channel: socket.socket | None = None
        self._state_written: dict[str, Any] = {}
        self._is_state_failing = False
        self._agent_stop_s = AGENT_STOP_S
        self._woke_at = time.monotonic()

    def run(self) -> int:
        """Start the node, keep it until it ends, and return the exit code."""
        try:
            self._install_signals()
            self._prepare()
            self._woke_at = time.monotonic()
            while self.phase != "ended":
                self._turn()
        except StartError as error:
            self.problems += error.problems
        finally:
            self._release()
        return 1 if self.problems else 0

    def places(self) -> list[tuple[str, str]]:
        """(setting, address) of everything the node listens on."""
        return self._listeners.places()

    # -- start and end

    def _prepare(self) -> None:
        """Take the prefix, the addresses and the memory; children start in the first turn. Raises StartError."""
        settings = self._generation.settings
        workers = self._count_workers(settings)
        try:
            state.prepare(self._paths)
            self._lock_fd = state.lock(self._paths)
            self.node_id = state.node_identity(self._paths, settings.node_id)
            self._listeners.reserve(opened(settings), workers)
            _raise_file_limit(settings.nginx_main_worker_rlimit_nofile)
            self._run_dir_fd = os.open(self._paths.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._channel = _listen_for_workers(self._run_dir_fd)
            # twice the workers: in a reload the old ones count on beside the new
            self._rate_lanes = 2 * workers
            rates_bytes = self._rate_lanes * settings.kongdp_rate_limiting_bytes
            self._rates_fd = shared_memory("rate limits", rates_bytes, "kongdp_rate_limiting_bytes")
            state.write_pid(self._paths)
        except SegmentError as error:
            raise StartError([str(error)]) from None
        except ListenError as error:
            raise StartError(error.problems) from None
        except state.StateError as error:
            raise StartError([str(error)]) from None
        except OSError as error:
            raise StartError([f"prefix: {self._paths.prefix} cannot be used: {error}"]) from None
        self._crew.slots.append(Slot(AGENT, 0, self._generation))
        self._crew.slots += [Slot(WORKER, index, self._generation) for index in range(workers)]
        log.log(logs.NOTICE, "starting node %s with %d workers in %s", self.node_id, workers, self._paths.prefix)

    def _release(self) -> None:
        """Give back everything; children are gone, or see the end of their lifelines and leave."""
        for child in self._crew.children:
            child.line.close()
        if self._lock_fd >= 0:
            state.remove_pid(self._paths)
        self._listeners.keep_only({}, 0)
        self._segments.close()
        if self._channel is not None:
            self._channel.close()
        for fd in (self._run_dir_fd, self._lock_fd, self._rates_fd):
            if fd >= 0:
                os.close(fd)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for end in self._wakeup:
            end.close()

    def _count_workers(self, settings: Settings) -> int:
        return settings.nginx_worker_processes or self._cores

    def _spec(self, slot: Slot, generation: Generation) -> dict[str, Any]:
        """What a child is told; the crew adds its lifeline and its segment."""
        settings = generation.settings
        wanted = opened(settings)
        spec: dict[str, Any] = {
            "role": slot.role,
            "index": slot.index,
            "generation": generation.number,
            "settings": settings.to_plain(),
            "node_id": self.node_id,
            "boot_id": self.boot_id,
            "prefix": str(self._paths.prefix),
            "run_dir_fd": self._run_dir_fd,
        }
        if slot.role == WORKER:
            rates = {"rates_fd": self._rates_fd, "rate_lanes": self._rate_lanes}
            return {**spec, **rates, "listeners": self._listeners.describe(wanted, "proxy_listen", slot.index)}
        assert self._channel is not None
        return {
            **spec,
            "channel_fd": self._channel.fileno(),
            "workers": self._count_workers(settings),
            "segments": [segment.describe() for segment in self._segments.all()],
            "admin_listeners": self._listeners.describe(wanted, "admin_listen"),
            "status_listeners": self._listeners.describe(wanted, "status_listen"),
        }

    # -- one turn

    def _turn(self) -> None:
        """Wait until something happens, then do all there is to do."""
        wait_s = self._crew.seconds_to_wait(time.monotonic(), TURN_S_MAX)
        events = self._selector.select(wait_s)
        now = time.monotonic()
        # Measured from the last turn's wake-up, because a stop may also fall between two waits.
        gap_s = now - self._woke_at - wait_s
        self._woke_at = now
        if gap_s >= CLOCK_GAP_S:
            log.warning("stood still for %.1f s", gap_s)
            self._crew.forgive(gap_s, now)
        for key, _mask in events:
            if isinstance(key.data, Child):
                self._crew.hear(key.data, now)
        for number in self._read_signals():
            self._on_signal(number, now)
        for ended in [*self._crew.reap(now), *self._crew.fill(now)]:
            self._on_ended(ended, now)
        if os.getpid() == 1:
            crew.reap_orphans({child.process.pid for child in self._crew.children})
        self._crew.judge(now)
        self._advance(now)
        self._publish()

    def _advance(self, now: float) -> None:
        """Let the phase follow from what the crew does."""
        if self.phase == "starting" and self._crew.is_complete:
            self.phase = "running"
            log.log(logs.NOTICE, "ready on %s", ", ".join(place for _setting, place in self._listeners.places()))
            self._publish()
            self._on_ready()
        if self.phase == "running":
            self._advance_reload(now)
        if self.phase == "draining" and not self._crew.has(WORKER):
            # The agent goes last, because it writes down what the workers counted to their end.
            self.phase = "stopping"
            self._crew.dismiss(AGENT, now + self._agent_stop_s)
        if self.phase == "stopping" and not self._crew.children:
            self.phase = "ended"

    def _on_ended(self, ended: Ended, now: float) -> None:
        """Decide what the end of a child means."""
        if self._reload is not None and self._reload.on_ended(ended, self._crew):
            return
        slot, child = ended.slot, ended.child
        if slot is None or (child is not None and child.is_leaving) or self._is_over_for(slot):
            return
        is_first_start = self.phase == "starting"
        if ended.cannot_start and self.phase != "draining" and (is_first_start or not self._crew.is_serving):
            self._give_up(ended.reason)
        elif is_first_start and slot.failures + 1 >= START_ATTEMPTS:
            self._give_up(f"{ended.reason}, {START_ATTEMPTS} times before the node was ready")
        else:
            self._crew.schedule(slot, now)

    def _is_over_for(self, slot: Slot) -> bool:
        """Whether the slot stays empty. While workers drain, a dead agent is replaced: somebody must keep their
        counts.
        """
        if self.phase == "draining":
            return slot.role == WORKER or bool(self.problems)
        return self.phase in ("stopping", "ended")

    def _give_up(self, reason: str) -> None:
        """The node cannot work: everything ends, and `run` returns 1."""
        self.problems.append(reason)
        self._begin_drain(FAST_STOP_S)

    def _begin_drain(self, limit_s: float | None = None) -> None:
        """Workers finish what they have, within the settings' limit unless told, then the agent goes."""
        if self.phase in ("draining", "stopping"):
            return
        if self._reload is not None:
            self._reload.abort(self._crew, "the node is stopping")
            self._end_reload(self._reload)
        self.phase = "draining"
        limit_s = drain_limit(self._generation) if limit_s is None else limit_s
        log.log(logs.NOTICE, "draining for at most %g s", limit_s)
        # From here on only the workers hold these sockets: when they close them, new connections are refused.
        self._listeners.keep_only({name: at for name, at in self._wanted().items() if name != "proxy_listen"}, 0)
        self._crew.dismiss(WORKER, time.monotonic() + limit_s)

    def _wanted(self) -> dict[str, Any]:
        return opened(self._generation.settings)

    # -- signals

    def _install_signals(self) -> None:
        """Handlers for all that we answer, explicitly: a shell starts background jobs with SIGINT ignored."""
        for end in self._wakeup:
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _wake)
        self._selector.register(self._wakeup[0], selectors.EVENT_READ)

    def _read_signals(self) -> list[int]:
        """The signals since the last time, in order."""
        try:
            return [number for number in self._wakeup[0].recv(4096) if number != signal.SIGCHLD]
        except BlockingIOError:
            return []

    def _on_signal(self, number: int, now: float) -> None:
        log.log(logs.NOTICE, "%s received", signal.Signals(number).name)
        if number == signal.SIGUSR1:
            logs.reopen_logs()
            # One that is not ready may have no handler yet, and the signal's default is death.
            self._crew.signal(number, [child for child in self._crew.children if child.is_ready])
        elif number == signal.SIGHUP:
            self._begin_reload()
        elif self.phase in ("draining", "stopping"):
            log.log(logs.NOTICE, "stopping at once")
            self._agent_stop_s = FAST_STOP_S
            for child in self._crew.children:
                # The agent still goes last.
                if child.role == WORKER or self.phase == "stopping":
                    child.leave(now + FAST_STOP_S)
        else:
            self._begin_drain()

    # -- reload

    def _begin_reload(self) -> None:
        if self.phase != "running" or self._reload is not None:
            self._reload_again = self.phase in ("starting", "running")
            return
        old = self._generation
        try:
            settings = self._read_settings()
            changed = [name for name in UNCHANGEABLE if getattr(settings, name) != getattr(old.settings, name)]
            if changed:
                raise SettingsError([f"{name} cannot change while the node runs; restart it" for name in changed])
            workers = max(self._count_workers(settings), self._count_workers(old.settings))
            self._listeners.reserve(opened(settings), workers)
        except (SettingsError, ListenError) as error:
            self._report_reload(error.problems)
            return
        try:
            self._on_settings(settings)
        except logs.LogTargetError as error:
            self._listeners.keep_only(self._wanted(), self._count_workers(old.settings))
            self._report_reload([f"proxy_error_log: {error}"])
            return
        new = Generation(old.number + 1, settings)
        log.log(logs.NOTICE, "reloading: generation %d", new.number)
        self._reload = Reload.begin(self._crew, old, new, self._count_workers(settings))

    def _advance_reload(self, now: float) -> None:
        if self._reload is not None:
            self._reload.advance(self._crew, now)
            if self._reload.is_done or self._reload.failure is not None:
                self._end_reload(self._reload)
        if self._reload is None and self._reload_again:
            self._reload_again = False
            self._begin_reload()

    def _end_reload(self, reload: Reload) -> None:
        """Keep the new generation, or go on with the old one; then close what neither needs."""
        self._reload = None
        if reload.is_done:
            self._generation = reload.new
            workers = self._count_workers(reload.new.settings)
            self._listeners.keep_only(self._wanted(), workers)
            self._retire(surplus(self._crew.slots, workers), drain_limit(reload.old))
        else:
            # Workers that were replaced already stay with their addresses; the next good reload tidies up.
            try:
                self._on_settings(reload.old.settings)
            except logs.LogTargetError as error:
                log.error("this process goes on with the new log: %s", error)
        self._report_reload([] if reload.failure is None else [reload.failure])

    def _retire(self, slots: Sequence[Slot], limit_s: float) -> None:
        for slot in slots:
            self._crew.slots.remove(slot)
            if slot.child is not None:
                slot.child.leave(time.monotonic() + limit_s)

    def _report_reload(self, problems: list[str]) -> None:
        for problem in problems:
            log.error("reload failed: %s", problem)
        if not problems:
            log.log(logs.NOTICE, "reloaded: generation %d serves", self._generation.number)
        self._reload_report = {"count": self._reload_report["count"] + 1, "problems": problems}

    # -- what others can see

    def _publish(self) -> None:
        """Write the state file when something changed."""
        current = {
            "pid": os.getpid(),
            "node_id": self.node_id,
            "boot_id": self.boot_id,
            "role": self._generation.settings.role,
            "drain_timeout_s": self._generation.settings.kongdp_drain_timeout_s,
            "settings_file": self._settings_file,
            "phase": self.phase,
            "generation": self._generation.number,
            "listeners": [{"setting": setting, "place": place} for setting, place in self._listeners.places()],
            "children": [child.describe() for child in self._crew.children],
            "reload": self._reload_report,
        }
        if current == self._state_written:
            return
        try:
            state.write_state(self._paths, current)
        except OSError as error:
            if not self._is_state_failing:
                log.error("cannot write %s: %s", self._paths.state_file, error.strerror)
            self._is_state_failing = True
            return  # the next turn tries again: commands wait for what is said there
        self._state_written = current
        self._is_state_failing = False


def _wake(_number: int, _frame: object) -> None:
    """The signal's number has already gone to the wake-up socket; Python only needs a handler to be there."""


def _raise_file_limit(wanted: int | None) -> None:
    """Let every process open as many files as the machine allows (None), or `wanted`; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if wanted is None else wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(hard, limit)))
    except (OSError, ValueError):
        log.warning("nginx_main_worker_rlimit_nofile: cannot set %s, the limit stays %d", limit, soft)


def _listen_for_workers(run_dir_fd: int) -> socket.socket:
    """The channel's listening socket. Bound through the directory's descriptor: a Unix path may have only 107 bytes."""
    path = f"/proc/self/fd/{run_dir_fd}/{SOCKET_NAME}"
    try:
        os.unlink(SOCKET_NAME, dir_fd=run_dir_fd)  # left by a node that was killed; the lock says that it is gone
    except FileNotFoundError:
        pass
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.setblocking(False)
    channel.bind(path)
    channel.listen(128)
    return channel
