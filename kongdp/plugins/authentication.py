"""What all authentication plugins share: who may pass without, the anonymous consumer, and what the upstream is told.

In: what a plugin found out about a request.  Out: the consumer on the exchange and X-Consumer-* for the upstream, or an Answer.
House rule: nothing a client sends under these names ever reaches an upstream behind an authentication plugin.
Hot for routes with authentication. Source: spec of bundled plugins, section 2; Kong 3.9 plugins/key-auth/handler.lua (set_consumer).
"""

from __future__ import annotations

from typing import Any

from kongdp.entities.model import Consumer, Plugin
from kongdp.plugins.base import Answer, Credential, ExchangeView, Handler, Node, error
from kongdp.plugins.fields import FieldLines

CONSUMER_ID, CONSUMER_CUSTOM_ID, CONSUMER_USERNAME = b"X-Consumer-ID", b"X-Consumer-Custom-ID", b"X-Consumer-Username"
CREDENTIAL_IDENTIFIER, ANONYMOUS_CONSUMER = b"X-Credential-Identifier", b"X-Anonymous-Consumer"


class Authentication(Handler):
    """An authentication plugin: `identify` does what is its own."""

    def __init__(self, plugin: Plugin, node: Node) -> None:
        super().__init__(plugin, node)
        config: dict[str, Any] = dict(plugin.config)
        self._anonymous: str | None = config.get("anonymous") or None
        self._skips_preflight = not config.get("run_on_preflight", True)

    def identify(self, exchange: ExchangeView, body: bytes | None) -> Answer | None:
        """Call `authenticate` and return None, or the refusal. `body`: the request's, where the plugin waits for it."""
        raise NotImplementedError

    def access(self, exchange: ExchangeView) -> Answer | None:
        """Let through whom `identify` knows, or everybody where an anonymous consumer is configured."""
        if self._is_excused(exchange):
            return None
        return self._decided(exchange, self.identify(exchange, None))

    async def access_waiting(self, exchange: ExchangeView) -> Answer | None:
        """As `access`, with the request's body."""
        if self._is_excused(exchange):
            return None
        return self._decided(exchange, self.identify(exchange, await exchange.body()))

    def _is_excused(self, exchange: ExchangeView) -> bool:
        if self._skips_preflight and exchange.method == b"OPTIONS":
            return True
        # one of several plugins that each let anybody through: the first that knows the client has decided
        return self._anonymous is not None and exchange.credential is not None

    def _decided(self, exchange: ExchangeView, refusal: Answer | None) -> Answer | None:
        name = self._anonymous
        if refusal is None or name is None:
            return refusal
        consumer = exchange.identities.consumer(name)
        if consumer is None:
            return error(500, f"anonymous consumer {name} is configured but doesn't exist")
        authenticate(exchange, consumer, None, b"")
        return None


def authenticate(exchange: ExchangeView, consumer: Consumer, credential: Credential | None, identifier: bytes) -> None:
    """The request is this consumer's. Without credential it is anonymous. `identifier`: what the upstream may know of the credential."""
    exchange.consumer, exchange.credential = consumer, credential
    fields = exchange.request_fields
    _tell(fields, CONSUMER_ID, consumer.id)
    _tell(fields, CONSUMER_CUSTOM_ID, consumer.custom_id)
    _tell(fields, CONSUMER_USERNAME, consumer.username)
    if credential is not None:
        fields.set(CREDENTIAL_IDENTIFIER, identifier)
        fields.remove(b"x-anonymous-consumer")
    else:
        fields.remove(b"x-credential-identifier")
        fields.set(ANONYMOUS_CONSUMER, b"true")


def _tell(fields: FieldLines, name: bytes, value: str | None) -> None:
    if value:
        fields.set(name, value.encode())
    else:
        fields.remove(name.lower())
