"""A page of the console without a browser."""

import asyncio
from collections.abc import Callable

from nicegui import Client, core
from nicegui.page import page


def on_a_page(act: Callable[[], None]) -> None:
    """Do something where elements may be made; what it sends to the browser goes nowhere."""

    async def main() -> None:
        core.loop = asyncio.get_running_loop()
        try:
            with Client(page("/test")) as client:
                act()
            client.delete()
        finally:
            core.loop = None

    asyncio.run(main())
