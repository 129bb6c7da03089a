"""Which certificate a client gets for the name it asks for.

In: the configuration's certificates and SNI rows.  Out: `CertificateStore.find(name) -> SSLContext | None`, and
`install` that puts the choice into a listener's context.
House rules: the ssl module only (workers import this file). A store is frozen; contexts are built at the first
handshake that needs them and taken over by the next store while the certificate's texts stay the same, so that a swap
costs nothing per certificate.
Cold but for `find`, which runs once for each handshake: at most four dictionary look-ups.
Source: proxy.md section 9: exact name, `*` for the first label, `*` for the last, a row named `*`, the default
certificate.
"""

import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from kongdp.certs.contexts import CertificateError, Pair, ServerOptions, server_context

log = logging.getLogger("kongdp.certs")


class CertificateEntity(Protocol):
    """The fields of a certificate that matter here (entities.model.Certificate has them)."""

    @property
    def id(self) -> str: ...
    @property
    def cert(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def cert_alt(self) -> str | None: ...
    @property
    def key_alt(self) -> str | None: ...


class SniEntity(Protocol):
    """The fields of an SNI that matter here."""

    @property
    def name(self) -> str: ...
    @property
    def certificate_id(self) -> str: ...


class _Entry:
    """One certificate: its texts, and its context or what is wrong with it once that is known."""

    __slots__ = ("_context", "_failure", "id", "options", "texts")

    def __init__(self, certificate: CertificateEntity, options: ServerOptions) -> None:
        self.id = certificate.id
        self.texts = _texts(certificate)
        self.options = options
        self._context: ssl.SSLContext | None = None
        self._failure: str | None = None

    def context(self) -> ssl.SSLContext:
        """The context showing this certificate. Raises CertificateError, each time; the reason is logged once."""
        if self._context is None:
            if self._failure is not None:
                raise CertificateError(self._failure)
            try:
                self._context = server_context(_pairs(self.texts), self.options)
            except CertificateError as error:
                self._failure = f"certificate {self.id}: {error}"
                log.error("%s; handshakes that ask for it are aborted", self._failure)
                raise CertificateError(self._failure) from None
        return self._context


class CertificateStore:
    """All certificates of one configuration, by the names clients ask for. Immutable but for contexts built on first
    use.
    """

    __slots__ = ("_by_id", "_by_name")

    def __init__(self, by_id: Mapping[str, _Entry], by_name: Mapping[str, _Entry]) -> None:
        self._by_id = by_id
        self._by_name = by_name

    @classmethod
    def build(
        cls,
        certificates: Iterable[CertificateEntity],
        snis: Iterable[SniEntity],
        options: ServerOptions,
        previous: "CertificateStore | None" = None,
    ) -> "CertificateStore":
        """Index a configuration. Contexts of `previous` serve on where texts and options are the same. Never raises
        for bad PEM.
        """
        known: Mapping[str, _Entry] = {} if previous is None else previous._by_id
        by_id: dict[str, _Entry] = {}
        for certificate in certificates:
            entry = known.get(certificate.id)
            if entry is None or entry.texts != _texts(certificate) or entry.options != options:
                entry = _Entry(certificate, options)
            by_id[certificate.id] = entry
        by_name = {sni.name.lower(): by_id[sni.certificate_id] for sni in snis if sni.certificate_id in by_id}
        return cls(by_id, by_name)

    def find(self, name: str | None) -> ssl.SSLContext | None:
        """The context for a name, or None when the default certificate serves. Raises CertificateError for an
        unreadable one.
        """
        if name is None or not self._by_name:
            return None
        for candidate in candidates(name.lower()):
            entry = self._by_name.get(candidate)
            if entry is not None:
                return entry.context()
        return None

    def pairs(self) -> dict[str, tuple[Pair, ...]]:
        """Certificate id -> its pairs; for upstream contexts that show a configured client certificate."""
        return {id_: _pairs(entry.texts) for id_, entry in self._by_id.items()}


EMPTY_STORE = CertificateStore({}, {})


def candidates(name: str) -> tuple[str, ...]:
    """The names under which a row may serve `name` (lower case), best first. One label only: `x.a.b.c` is not `*.b.c`.

    >>> candidates("a.b.c")
    ('a.b.c', '*.b.c', 'a.b.*', '*')
    """
    first, _, rest = name.partition(".")
    if not rest or not first:
        return (name, "*")
    right = name.rpartition(".")[0] + ".*"
    return (name, f"*.{rest}", right, "*") if "." in rest else (name, right, "*")


def install(context: ssl.SSLContext, current: Callable[[], CertificateStore]) -> None:
    """Let a listener's context (with the default certificate) choose by SNI from whatever store is current at each
    handshake.

    The name asked for is kept on the connection's SSLObject, see `requested_name`. An unreadable certificate aborts
    the handshake, without falling back to the default (as Kong).
    """

    def choose(connection: Any, name: str | None, _: ssl.SSLContext) -> int | None:
        connection.kongdp_requested_name = name
        try:
            chosen = current().find(name)
        except CertificateError:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        if chosen is not None:
            connection.context = chosen
        return None

    context.sni_callback = choose


def requested_name(ssl_object: Any) -> str | None:
    """The SNI a client sent on this connection, None when it sent none."""
    name = getattr(ssl_object, "kongdp_requested_name", None)
    return name if isinstance(name, str) else None


_Texts = tuple[str, str, str | None, str | None]


def _texts(certificate: CertificateEntity) -> _Texts:
    return (certificate.cert, certificate.key, certificate.cert_alt, certificate.key_alt)


def _pairs(texts: _Texts) -> tuple[Pair, ...]:
    cert, key, cert_alt, key_alt = texts
    first = Pair(cert.encode(), key.encode())
    if cert_alt is None or key_alt is None:
        return (first,)
    return (first, Pair(cert_alt.encode(), key_alt.encode()))
