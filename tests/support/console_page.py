"""A page of the console without a browser."""

import asyncio
from collections.abc import Callable

from nicegui import Client
from nicegui.page import page


def on_a_page(act: Callable[[], None]) -> None:
    """Do something where elements may be made."""

    async def main() -> None:
        with Client(page("/test")) as client:
            act()
        client.delete()

    asyncio.run(main())
