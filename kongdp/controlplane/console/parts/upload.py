"""A button that takes a small text file. The file comes by HTTP behind the door, not over the page's socket. Cold."""

from collections.abc import Awaitable, Callable

from nicegui import events, ui

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.parts.buttons import main_button, quiet_button
from kongdp.controlplane.console.visit import said

# The largest that any of the API's uploads may be; the API has the exact limits and says so.
BYTES_MAX = 8 * 1024 * 1024

OnText = Callable[[str, str], Awaitable[None]]


def upload_button(text: str, endings: str, on_text: OnText, *, is_main: bool = False) -> ui.button:
    """The button; `on_text` is called with the file's name and text, `endings` are those that may be chosen."""

    async def received(event: events.UploadEventArguments) -> None:
        problem.visible = False
        name = event.file.name
        try:
            await on_text(name, (await event.file.read()).decode())
        except UnicodeDecodeError:
            refuse(f"{name} is no text in UTF-8")
        except RefusedError as error:
            if error.status == 401:
                raise
            refuse(f"{name}: {said(error)}")
        finally:
            uploader.reset()

    def refuse(why: str) -> None:
        problem.text, problem.visible = why, True

    uploader = ui.upload(
        auto_upload=True,
        max_file_size=BYTES_MAX,
        on_upload=received,
        on_rejected=lambda: refuse(f"The file is too large: at most {BYTES_MAX // 1024 // 1024} MiB"),
    )
    uploader.props(f'accept="{endings}"').classes("hidden")
    make = main_button if is_main else quiet_button
    button = make(text, lambda: uploader.run_method("pickFiles"), icon="upload")
    # What is wrong with a file stays until the next one is chosen.
    problem = ui.label("").classes("problem").props('role="alert"')
    problem.visible = False
    return button
