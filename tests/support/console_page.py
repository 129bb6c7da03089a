"""A page of the console without a browser."""

import asyncio
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from nicegui import Client, background_tasks, core, ui
from nicegui.events import GenericEventArguments, handle_event
from nicegui.page import page

from kongdp.controlplane.console.visit import Visit

Element = TypeVar("Element", bound=ui.element)


def on_a_page(act: Callable[[], Any]) -> None:
    """Do something where elements may be made; what it sends to the browser goes nowhere."""

    asyncio.run(a_page(act))


async def a_page(act: Callable[[], Any]) -> None:
    """The same in a loop that runs."""
    core.loop = asyncio.get_running_loop()
    try:
        with Client(page("/test")) as client:
            done = act()
            if inspect.isawaitable(done):
                await done
        client.delete()
    finally:
        core.loop = None


class StubAsking:
    """The API as a screen asks it: answers by path, and what was asked for."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def unattended(self) -> "StubAsking":
        return self

    async def get(self, path: str, **query: object) -> Any:
        self.asked.append((path, {name: value for name, value in query.items() if value is not None}))
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return answer

    text = get

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return await self.get(path, **(body or {}))


def visit_of(
    ask: StubAsking,
    path: str = "/page",
    may: Callable[[str], bool] = lambda _role: True,
    *,
    admin: str = "",
    **arguments: Any,
) -> Visit:
    """A visit of somebody who may everything, or what a role may."""
    identity = SimpleNamespace(name="admin", may=lambda role, _group=None: may(role))
    return Visit(cast(Any, ask), cast(Any, identity), path, "", admin=admin, arguments=arguments)


def found(kind: type[Element], **props: Any) -> list[Element]:
    """The elements of a kind on the page, those with these props."""
    elements = [each for each in ui.context.client.elements.values() if isinstance(each, kind)]
    return [each for each in elements if all(each.props.get(name) == value for name, value in props.items())]


def texts() -> list[str]:
    """Every text on the page that is seen."""

    def is_seen(element: ui.element) -> bool:
        return element.visible and all(each.visible for each in element.ancestors())

    return [each.text for each in found(ui.label) if each.text and is_seen(each)]


async def press(button: str | ui.button) -> None:
    """Press a button, or the only one of a name, and wait until what it started has ended."""
    if isinstance(button, str):
        (button,) = found(ui.button, label=button)
    await send(button, "click", None)


async def send(element: ui.element, event: str, arguments: Any) -> None:
    """An event of the browser."""
    before = set(background_tasks.running_tasks)
    for listener in list(element._event_listeners.values()):
        if listener.type == event and listener.handler is not None:
            handle_event(listener.handler, GenericEventArguments(sender=element, client=element.client, args=arguments))
    # But for those that wait for the browser.
    tasks = [task for task in background_tasks.running_tasks - before if not task.get_name().startswith("fire")]
    if tasks:
        await asyncio.wait(tasks, timeout=30)
