"""What tests of settings share."""

from datetime import UTC, datetime

import pytest

from kongdp.cli.hybrid import make_pair


@pytest.fixture(scope="package")
def pairs() -> list[tuple[str, str]]:
    """Two certificates with their keys, as PEM text."""
    now = datetime.now(UTC)
    return [(certificate.decode(), key.decode()) for certificate, key in (make_pair(1, now), make_pair(1, now))]
