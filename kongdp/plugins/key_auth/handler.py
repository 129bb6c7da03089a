"""key-auth: a key in a field, a query argument or the body says who asks.

Hot for its routes. Source: spec of bundled plugins, section 2; Kong 3.9 plugins/key-auth/handler.lua.
"""

from __future__ import annotations

from kongdp.entities.model import Plugin
from kongdp.plugins.authentication import Authentication, authenticate
from kongdp.plugins.base import Answer, ExchangeView, Node, error
from kongdp.plugins.bodies import read_body
from kongdp.plugins.fields import arguments, without_argument

DUPLICATE = "Duplicate API key found"
ABSENT = "No API key found in request"
UNKNOWN = "Unauthorized"


class KeyAuth(Authentication):
    """One instance of key-auth."""

    PRIORITY = 1250

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config = plugin.config
        self._names = tuple((name.lower().encode(), name.encode()) for name in config["key_names"])
        self.secret_names = frozenset(lower for lower, _ in self._names)
        self._in_header, self._in_query = config["key_in_header"], config["key_in_query"]
        self.waits = self._in_body = config["key_in_body"]
        self._hides = config["hide_credentials"]
        realm = config.get("realm")
        self._challenge = ((b"WWW-Authenticate", b'Key realm="%b"' % realm.encode() if realm else b"Key"),)

    def identify(self, exchange: ExchangeView, body: bytes | None) -> Answer | None:
        """The consumer whose key it is."""
        key = self._find(exchange, body)
        if isinstance(key, Answer):
            return key
        if not key:
            return error(401, ABSENT, self._challenge)
        credential = exchange.identities.keys.get(key.decode("utf-8", "surrogateescape"))
        if credential is None or (credential.ttl and credential.ttl <= self.node.wall()):
            return error(401, UNKNOWN, self._challenge)
        consumer = exchange.identities.owner(credential)
        if consumer is None:
            return error(401, UNKNOWN, self._challenge)
        authenticate(exchange, consumer, credential, credential.id.encode())
        return None

    def _find(self, exchange: ExchangeView, body: bytes | None) -> bytes | Answer | None:
        """The key, or None; an Answer where it was given twice."""
        fields = exchange.request_fields
        query = exchange.query if self._in_query else b""
        given: list[tuple[bytes, bytes | None]] | None = None  # taken apart when no field has the key
        form = read_body(fields.first(b"content-type"), body) if body else None
        for lower, name in self._names:
            values: list[bytes | None] = [*fields.all(lower)] if self._in_header else []
            if not values and query:
                given = arguments(query) if given is None else given
                values = [value for argument, value in given if argument == name]
            if not values and form is not None:
                values = form.texts(name)
            if len(values) > 1:
                return error(401, DUPLICATE, self._challenge)
            if values and values[0] is not None:
                if self._hides:
                    fields.remove(lower)
                    if query:
                        exchange.query = without_argument(exchange.query, name)
                    if form is not None and form.remove(name):
                        exchange.replace_body(form.render())
                return values[0]
        return None


HANDLER = KeyAuth
