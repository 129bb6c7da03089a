"""The servers of the agent's APIs."""

import asyncio
import socket

from starlette.responses import PlainTextResponse

from kongdp.adminapi.protocol import HEAD_BYTES_MAX
from kongdp.process.agent_servers import ApiServer


def test_a_head_without_end_is_cut_off() -> None:
    """After the bound, by 400 and the end of the connection; others are served."""

    async def scenario() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = ApiServer(PlainTextResponse("here"), [{"fd": listener.detach(), "ssl": False}], None, "Admin")
        await server.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nx-long: " + b"a" * (2 * HEAD_BYTES_MAX))
            answer = b""
            try:
                async with asyncio.timeout(30):
                    answer = await reader.read()
            except ConnectionResetError:
                pass  # what we had still been sending met a closed connection
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"here")
            writer.close()
        finally:
            await server.stop()

    asyncio.run(scenario())
