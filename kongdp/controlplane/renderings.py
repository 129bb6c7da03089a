"""What is made of uploaded texts for showing: HTML of Markdown, views of specs; made once for each edition.

In: documents and specs.  Out: their renderings. Making one may take seconds, so at most one is made at a time, and the
newest few are kept: whoever asks for many pages at once costs no more than one who asks for them in turn.
Cold; called off the event loop.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from kongdp.controlplane import markdown, openapi_text, openapi_view
from kongdp.controlplane.documents import ServiceDocument, VersionSpec
from kongdp.controlplane.openapi_text import OpenApiError
from kongdp.controlplane.openapi_view import SpecView

T = TypeVar("T")

# A view of the largest spec has about 10 MB.
KEPT_MAX = 32


class Renderings:
    """Renderings by owner and edition."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept: OrderedDict[tuple[object, ...], Any] = OrderedDict()
        self._kept_max = kept_max
        self._lock = threading.Lock()

    def html(self, document: ServiceDocument) -> str:
        """A document as safe HTML."""
        key = ("document", document.service_id, document.edition, document.updated_at)
        return self.once(key, lambda: markdown.render(document.content))

    def view(self, spec: VersionSpec) -> SpecView | None:
        """A spec as people read it; None for one that this release no longer takes."""
        key = ("spec", spec.version_id, spec.edition, spec.updated_at)
        return self.once(key, lambda: _view(spec))

    def once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` makes, or has made for this key. It must not ask for another rendering."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: T = self._kept[key]
                return kept
            made = make()
            self._kept[key] = made
            if len(self._kept) > self._kept_max:
                self._kept.popitem(last=False)
            return made


def _view(spec: VersionSpec) -> SpecView | None:
    try:
        # Judged when it was uploaded; here only its bounds are looked at again.
        return openapi_view.view(openapi_text.parse(spec.content, len(spec.content.encode())))
    except OpenApiError:
        return None
