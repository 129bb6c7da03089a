"""**Overview**: what the gateway does right now. Cold."""

from kongdp.controlplane.console import layout
from kongdp.controlplane.console.visit import Visit, screen


@screen("/", title="Overview", menu="overview")
async def overview(visit: Visit) -> None:
    """The page."""
    layout.heading(visit, "Overview")
