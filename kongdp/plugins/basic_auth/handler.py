"""basic-auth: user name and password (RFC 7617).

Hot for its routes. Source: spec of bundled plugins, section 2; Kong 3.9 plugins/basic-auth/access.lua.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from kongdp.entities.model import BasicAuthCredential, Plugin
from kongdp.plugins.authentication import Authentication, authenticate
from kongdp.plugins.base import Answer, ExchangeView, Node, error

FIELDS = (b"proxy-authorization", b"authorization")
"""In this order; what the first names decides, unless nobody has that name."""


class BasicAuth(Authentication):
    """One instance of basic-auth."""

    PRIORITY = 1100

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        self._hides = plugin.config["hide_credentials"]
        realm = plugin.config.get("realm") or "service"
        self._refusal = error(401, "Unauthorized", ((b"WWW-Authenticate", b'Basic realm="%b"' % realm.encode()),))

    def identify(self, exchange: ExchangeView, body: bytes | None) -> Answer | None:
        """The consumer whose name and password they are."""
        for field in FIELDS:
            value = exchange.request_fields.first(field)
            given = _credentials(value) if value else None
            if given is None:
                continue
            if self._hides:
                exchange.request_fields.remove(field)
            name, password = given
            credential = exchange.identities.basic_names.get(name.decode("utf-8", "surrogateescape"))
            if credential is not None:
                return self._judge(exchange, credential, password)
        return self._refusal

    def _judge(self, exchange: ExchangeView, credential: BasicAuthCredential, password: bytes) -> Answer | None:
        salted = password + (credential.consumer_id or "").encode()
        digest = hashlib.sha1(salted, usedforsecurity=False).hexdigest()
        consumer = exchange.identities.owner(credential)
        if consumer is None or not hmac.compare_digest(digest.encode(), credential.password.lower().encode()):
            return self._refusal
        authenticate(exchange, consumer, credential, credential.username.encode())
        return None


def _credentials(value: bytes) -> tuple[bytes, bytes] | None:
    """Name and password of a field's value; None when it holds none."""
    scheme, _, encoded = value.partition(b" ")
    if scheme not in (b"Basic", b"basic"):
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon and name else None


HANDLER = BasicAuth
