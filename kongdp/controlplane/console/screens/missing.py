"""Every address that no screen has. Cold."""

from kongdp.controlplane.console.asking import RefusedError
from kongdp.controlplane.console.visit import Visit, screen


@screen("/{address:path}", title="Not found")
async def missing(_visit: Visit, address: str) -> None:
    """Say so."""
    raise RefusedError(404, f"there is no page /{address[:200]} in the console")
