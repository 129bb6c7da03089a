"""New TLS connections with one request each: full handshakes, or resumed ones.

    python -m bench.whole.handshakes https://127.0.0.1:8443/mock/1k --connections 8 --seconds 2 [--resume]

Each of --connections threads connects, asks once with `Connection: close`, reads to the end, and begins again. With
--resume each thread offers the session of its first connection; a server that does not take it up makes an error, so
that a "resumed" figure can never be one of full handshakes.
"""

import argparse
import json
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from bench.histogram import Histogram

TIMEOUT_S = 10.0


class Client(threading.Thread):
    """One thread's connections, one after the other."""

    def __init__(self, url: str, until: float, resume: bool) -> None:
        super().__init__(daemon=True)
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        self._until = until
        self._resume = resume
        self.seen = Histogram()
        self.errors = 0

    def run(self) -> None:
        context = ssl._create_unverified_context()
        session = self._once(context, None)[0] if self._resume else None
        while (began := time.perf_counter()) < self._until:
            try:
                newer, good = self._once(context, session)
            except OSError:
                good = False
            else:
                session = newer if self._resume else None  # TLS 1.3 tickets are for one use
            self.errors += not good
            self.seen.record((time.perf_counter() - began) * 1e6)

    def _once(self, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        """One connection: the session for the next, and whether all was as it should be."""
        with (
            socket.create_connection(self._address, TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(self._request)
            answer = b""
            while data := secure.recv(65536):
                answer += data
            good = answer.startswith(b"HTTP/1.1 200") and (session is None or bool(secure.session_reused))
            return secure.session, good


def main() -> None:
    """Load and print a Seen of bench.whole.loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--json", action="store_true", help="accepted: the output always is")
    given = parser.parse_args()
    began = time.perf_counter()
    clients = [Client(given.url, began + given.seconds, given.resume) for _ in range(given.connections)]
    for client in clients:
        client.start()
    whole = Histogram()
    for client in clients:
        client.join()
        whole.merge(client.seen)
    print(json.dumps(whole.summary(time.perf_counter() - began, sum(client.errors for client in clients))))


if __name__ == "__main__":
    main()
