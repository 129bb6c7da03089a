"""The last good configuration on disk: `<prefix>/config.cache.json.gz`.

In and out: a Reconfigure.  The file is a reconfigure message exactly as it travels (gzip of JSON with the hash
inside), so that writing costs nothing but the disk and Kong's own tools can read it.
House rules: written beside and renamed, 0600 (it holds credentials); a file that cannot be read is the caller's to
report and then to live without. One writer: the agent.
Cold; blocking, so the agent calls it off its loop. Source: protocol notes 6.1 (file name and mode of Kong 2.x).
"""

from pathlib import Path

from kongdp.errors import KongdpError
from kongdp.files import replace_file
from kongdp.sync.messages import CONFIG_BYTES_MAX, MessageError, Reconfigure, decode_reconfigure, encode_reconfigure

FILE_NAME = "config.cache.json.gz"


class CacheError(KongdpError):
    """The cached configuration cannot be used; the message names the file and the reason."""


def write(path: Path, message: Reconfigure, frame: bytes | None = None) -> None:
    """Keep a configuration. `frame`: the bytes it came in, when it came with its hash. Raises OSError; the old file
    stays then.
    """
    replace_file(path, encode_reconfigure(message) if frame is None else frame)


def read(path: Path, *, config_bytes_max: int = CONFIG_BYTES_MAX) -> Reconfigure | None:
    """The configuration kept last, None when there is none. Raises CacheError for a file that cannot be used."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CacheError(f"cannot read the cached configuration {path}: {error.strerror}") from None
    try:
        message = decode_reconfigure(data, config_bytes_max=config_bytes_max)
    except MessageError as error:
        raise CacheError(f"the cached configuration {path} is damaged: {error}") from None
    if message is None:
        raise CacheError(f"the cached configuration {path} is not a configuration")
    return message
