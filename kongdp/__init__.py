"""kongdp: an API gateway that speaks Kong's language.

`__version__` is ours and appears in `Server` and `Via`; `KONG_VERSION` is the Kong release whose behaviour and wire formats we
speak, and is what peers that ask for a Kong version are told (node_version, plugin versions, Admin API).
"""

from kongdp import compiled as _compiled

__version__ = "0.1.0"
KONG_VERSION = "3.9.1"

_compiled.choose()
