"""A stand-in for a worker or the agent under a real supervisor: small, quick to start, and scripted by its command
line.

A worker accepts on its sockets and answers every connection with one line of JSON about itself; the first 8 bytes of
its segment count those answers. A connection that sends `hang` makes it stop breathing, `slow` keeps that connection
open until `go` comes, as an exchange in flight would be. The agent writes what it sees to <prefix>/agent.log.
"""

import argparse
import json
import mmap
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from kongdp.process.lifeline import Lifeline, LifelineEnded
from kongdp.process.spec import read_spec


class Standin:
    def __init__(self, spec, lifeline):
        self.spec = spec
        self.lifeline = lifeline
        self.selector = selectors.DefaultSelector()
        self.leaving = False
        self.in_flight = set()
        self.sockets = []
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_write.setblocking(False)
        self.wake_read.setblocking(False)
        self.segments = [entry["index"] for entry in spec.get("segments", [])]
        self.map = mmap.mmap(spec["segment_fd"], 0) if "segment_fd" in spec else None

    def log(self, text):
        with (Path(self.spec["prefix"]) / "children.log").open("a") as file:
            file.write(f"{self.spec['role']} {self.spec['index']} {self.spec['generation']} {os.getpid()} {text}\n")

    def run(self, *, deaf):
        signal.set_wakeup_fd(self.wake_write.fileno())
        for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        self.selector.register(self.wake_read, selectors.EVENT_READ, self.on_signal)
        self.selector.register(self.lifeline, selectors.EVENT_READ, self.on_lifeline)
        for entry in self.spec.get("listeners", []):
            listener = socket.socket(fileno=entry["fd"])
            listener.listen(entry["backlog"])
            self.sockets.append(listener)
            self.selector.register(listener, selectors.EVENT_READ, self.on_accept)
        self.log("started")
        self.lifeline.beat()
        if not deaf:
            self.lifeline.ready()
        while not self.leaving or self.in_flight:
            for key, _mask in self.selector.select(0.05):
                key.data(key.fileobj)
            self.lifeline.beat()
        self.log("ended")

    def on_signal(self, _source):
        for number in self.wake_read.recv(100):
            self.log(f"signal {signal.Signals(number).name}")
            if number != signal.SIGUSR1:
                self.leave()

    def on_lifeline(self, _source):
        try:
            while (received := self.lifeline.receive()) is not None:
                self.segments += [entry["index"] for entry in received.message["segments"]]
                self.log(f"segments {self.segments} descriptors {len(received.descriptors)}")
        except LifelineEnded:
            self.log("orphan")
            self.selector.unregister(self.lifeline)
            self.leave()

    def on_accept(self, listener):
        try:
            connection, _address = listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        (count,) = struct.unpack_from("<Q", self.map, 0)
        struct.pack_into("<Q", self.map, 0, count + 1)
        facts = {
            "pid": os.getpid(),
            "index": self.spec["index"],
            "generation": self.spec["generation"],
            "socket": os.fstat(listener.fileno()).st_ino,
            "segment": os.fstat(self.spec["segment_fd"]).st_ino,
            "count": count + 1,
            "drain": self.spec["settings"]["kongdp_drain_timeout_s"],
        }
        try:
            connection.sendall(json.dumps(facts).encode() + b"\n")
        except OSError:
            connection.close()
            return
        self.selector.register(connection, selectors.EVENT_READ, self.on_data)

    def on_data(self, connection):
        try:
            data = connection.recv(100)
        except OSError:  # a client that left without reading
            data = b""
        if data == b"hang":
            while True:
                time.sleep(60)
        if data == b"slow":
            self.in_flight.add(connection)
            connection.sendall(b"waiting")
            return
        if data == b"go":
            connection.sendall(b"done")
        self.in_flight.discard(connection)
        self.selector.unregister(connection)
        connection.close()

    def leave(self):
        if self.leaving:
            os._exit(0)
        self.leaving = True
        for listener in self.sockets:
            self.selector.unregister(listener)
            listener.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec-fd", type=int, required=True)
    parser.add_argument("--fail", help="report this as a start-up failure")
    parser.add_argument("--fail-generation", type=int, default=0, help="only in this generation")
    parser.add_argument("--exit", type=int, help="end with this code at once")
    parser.add_argument("--deaf", action="store_true", help="never become ready")
    options = parser.parse_args()
    spec = read_spec(options.spec_fd)
    lifeline = Lifeline(spec["lifeline_fd"])
    is_meant = options.fail_generation in (0, spec["generation"])
    if options.fail and is_meant:
        lifeline.fail(options.fail)
    if options.exit is not None and is_meant:
        sys.exit(options.exit)
    Standin(spec, lifeline).run(deaf=options.deaf)


if __name__ == "__main__":
    main()
