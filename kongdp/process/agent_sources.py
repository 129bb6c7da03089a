"""Where candidate configurations come from: a frame of the control plane, the cache, a declarative file or text, a
request.

In: bytes, paths, documents.  Out: candidates for the pipeline, whose `read` runs in its thread.
House rule: every way in ends in the same Reconfigure, so that a file and a push are judged alike.
Cold. Source: ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kongdp.entities import declarative
from kongdp.entities.declarative import DeclarativeError
from kongdp.entities.hashing import document_hash
from kongdp.process.agent_pipeline import Candidate, UnreadableError
from kongdp.sync import cache
from kongdp.sync.cache import CacheError
from kongdp.sync.messages import MessageError, Reconfigure, decode_reconfigure


def from_control_plane(frame: bytes) -> Candidate:
    """A pushed frame. It is cached as it came, unless the control plane left its hash out."""
    candidate = Candidate("control plane", lambda: None, frame)

    def read() -> Reconfigure | None:
        try:
            message = decode_reconfigure(frame)
        except MessageError as error:
            raise UnreadableError(str(error)) from None
        if message is not None and message.is_hash_computed:
            candidate.frame = None
        return message

    candidate.read = read
    return candidate


def from_cache(path: Path) -> Candidate:
    """The last good configuration; a missing file is a message of another kind."""

    def read() -> Reconfigure | None:
        try:
            return cache.read(path)
        except CacheError as error:
            raise UnreadableError(str(error)) from None

    return Candidate("the cache", read, is_cached=True)


def from_file(path: Path) -> Candidate:
    """A declarative file, YAML or JSON by its name or content."""

    def read() -> Reconfigure | None:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise UnreadableError(f"declarative_config: cannot read {path}: {error.strerror}") from None
        return _document(declarative.parse_text(text, path.name))

    return Candidate(str(path), read, is_written=True)


def from_text(text: str | bytes, origin: str) -> Candidate:
    """Declarative text, YAML or JSON."""
    return Candidate(origin, lambda: _document(declarative.parse_text(text)), is_written=True)


def from_document(document: Mapping[str, Any], origin: str, config_hash: str | None = None) -> Candidate:
    """A declarative document that is parsed already, with the hash it is known by where there is one."""
    if config_hash is not None:
        return Candidate(origin, lambda: Reconfigure(config_hash, dict(document)), is_written=True)
    return Candidate(origin, lambda: _document(document), is_written=True)


def _document(document: Mapping[str, Any]) -> Reconfigure:
    try:
        return Reconfigure(document_hash(document), dict(document))
    except (TypeError, ValueError) as error:  # a YAML value that no JSON has, for example a key that is no text
        raise DeclarativeError({"error": f"failed parsing declarative configuration: {error}"}) from None
