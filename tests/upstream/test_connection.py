"""What an upstream connection gives on of a response, in memory."""

import pytest

from kongdp.http1.messages import ResponseHead
from kongdp.upstream.connection import COPIED_BYTES_MAX, Receiver, UpstreamConnection
from kongdp.upstream.pool import Endpoint, Pool, PoolLimits


class Heard(Receiver):
    """An exchange that only remembers."""

    def __init__(self) -> None:
        self.method = b"GET"
        self.chunks_as_payload = False
        self.began: list[tuple[int, bytes | memoryview, bool]] = []
        self.went_on: list[tuple[bytes, bool]] = []

    def response_begins(self, head: ResponseHead, body: bytes | memoryview, ended: bool) -> None:
        """Remember the beginning."""
        self.began.append((head.status, body, ended))

    def response_goes_on(self, data: bytes, ended: bool) -> None:
        """Remember more of it."""
        self.went_on.append((data, ended))


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n", b"X-Length: %d\r\n"], ids=["length", "until close"])
@pytest.mark.parametrize("length", [COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1])
def test_response_when_much_of_its_body_comes_with_the_head(framing: bytes, length: int) -> None:
    """Up to the bound it is copied out of what was read, beyond it is a view of just that; the bytes are the same."""
    connection, heard = UpstreamConnection(Pool(Endpoint("127.0.0.1", 1), PoolLimits()), None, 8192), Heard()
    connection.begin(heard)
    body = bytes(range(251)) * (length // 251 + 1)
    body = body[:length]
    read = b"HTTP/1.1 200 OK\r\n" + framing % (length + 1) + b"\r\n" + body
    connection.data_received(read)
    ((status, began, ended),) = heard.began
    assert (status, bytes(began), ended) == (200, body, False)
    assert isinstance(began, memoryview) is (length > COPIED_BYTES_MAX)
    assert not isinstance(began, memoryview) or began.obj is read
    connection.data_received(b"!")
    assert heard.went_on == [(b"!", framing.startswith(b"Content"))]
