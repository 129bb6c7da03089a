"""How large a body may be, before anybody knows whose it is.

In: messages of a request.  Out: the same, or 413. Cold. Source: ours; FastAPI reads bodies without a bound.
"""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """ASGI middleware: no endpoint reads a body that is larger, announced or not."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its body as far as the bound."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._bytes_max:
                raise HTTPException(413, f"the body has more than {self._bytes_max} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)
