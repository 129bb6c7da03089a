"""The last good configuration on disk."""

import gzip
import stat
from pathlib import Path

import pytest

from kongdp import files
from kongdp.sync import cache
from kongdp.sync.cache import CacheError
from kongdp.sync.messages import Reconfigure, encode_reconfigure

MESSAGE = Reconfigure("a" * 32, {"_format_version": "3.0", "services": [{"id": "1"}]}, 5.0)


def test_configuration_comes_back_when_it_was_kept(tmp_path: Path) -> None:
    """The hash is in the file; only the owner may read it; nothing is left beside it."""
    path = tmp_path / cache.FILE_NAME
    cache.write(path, MESSAGE)
    assert cache.read(path) == MESSAGE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.cache.json.gz"]


def test_frame_is_kept_as_it_came_when_given(tmp_path: Path) -> None:
    """What the control plane sent is what lies on the disk."""
    path = tmp_path / cache.FILE_NAME
    frame = encode_reconfigure(MESSAGE)
    cache.write(path, MESSAGE, frame)
    assert path.read_bytes() == frame


def test_nothing_is_read_when_nothing_was_kept(tmp_path: Path) -> None:
    """A new node has no cache, which is no error."""
    assert cache.read(tmp_path / cache.FILE_NAME) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        encode_reconfigure(MESSAGE)[:-1],
        encode_reconfigure(MESSAGE)[:40],
        gzip.compress(b"{}"),
        gzip.compress(b"[1"),
        encode_reconfigure(MESSAGE)[:-8] + bytes(8),
    ],
)
def test_damaged_file_is_named_when_it_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    """Truncated, foreign or bit-rotten (the checksum fails): a reason with the path."""
    path = tmp_path / cache.FILE_NAME
    path.write_bytes(content)
    with pytest.raises(CacheError, match=str(path)):
        cache.read(path)


def test_old_file_stays_when_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs nothing but the message."""
    path = tmp_path / cache.FILE_NAME
    cache.write(path, MESSAGE)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        cache.write(path, Reconfigure("b" * 32, {}))
    assert cache.read(path) == MESSAGE
    assert len(list(tmp_path.iterdir())) == 1
