"""How long the head of a request may be, before anybody knows whose it is: uvicorn's protocol with a bound.

In: bytes from the network.  Out: the same, or 400 and the end of the connection. Loaded by uvicorn when it begins to serve.
Cold. Source: the bound is ours; with httptools uvicorn has none.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As many bytes as nginx takes for Kong's Admin API: four buffers of 8 KiB, twice.
HEAD_BYTES_MAX = 65_536


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, for heads of at most HEAD_BYTES_MAX (and what came with the last piece)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._is_in_head = True

    def on_message_begin(self) -> None:
        """A head begins."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It has ended."""
        self._is_in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take a piece."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.send_400_response(f"The head of the request has more than {HEAD_BYTES_MAX} bytes.")
