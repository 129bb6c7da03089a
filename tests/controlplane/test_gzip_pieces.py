"""A gzip file of pieces is the gzip file of the text."""

import gzip

from hypothesis import given
from hypothesis import strategies as st

from kongdp.controlplane.gzip_pieces import join, piece


@given(
    st.lists(st.binary(max_size=200) | st.builds(lambda text, n: text * n, st.binary(max_size=20), st.integers(1, 500)))
)
def test_pieces_decompress_to_the_texts_in_order(texts: list[bytes]) -> None:
    """Whatever they are, and when each was compressed; also when there are none."""
    assert gzip.decompress(join((text, piece(text)) for text in texts)) == b"".join(texts)
