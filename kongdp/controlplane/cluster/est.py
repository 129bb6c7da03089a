"""Enrolment over Secure Transport: how a node gets its first certificate and every later one.

In: requests under /.well-known/est/ (an optional label names the runtime group).  Out: responses. `simpleenroll`
wants a user's name and password (Basic) or a one-time token (Bearer); `simplereenroll` wants a valid certificate of
ours and gives another for the same node. House rules: a request that cannot be signed costs no token; a token, the
certificate and its record change in one transaction; nothing secret is logged.
Cold. Source: RFC 7030 sections 4.1, 4.2.
"""

import base64
import binascii
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kongdp.controlplane import groups, ledger, nodes
from kongdp.controlplane.accounts import Accounts, User, create_token, try_use_token
from kongdp.controlplane.authority import Authority, RequestRefusedError, requested_node_id
from kongdp.controlplane.cluster.requests import Request, Response, message
from kongdp.controlplane.passwords import SignInError
from kongdp.controlplane.store.database import Database

LOG = logging.getLogger("kongdp.controlplane.est")
PREFIX = "/.well-known/est/"
# A set-up script uses its token within seconds; pulling an image may take minutes.
SCRIPT_TOKEN_LIFETIME_S = 1800.0
# The last refused requests, for whoever wonders why a node does not come.
REFUSALS_MAX = 50
CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"
CHALLENGE = (
    ("WWW-Authenticate", 'Basic realm="kongdp", charset="UTF-8"'),
    ("WWW-Authenticate", 'Bearer realm="kongdp"'),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request for a certificate that was refused: when, from where, for what, and why."""

    at: float
    address: str
    operation: str
    status: int
    message: str


@dataclass  # not frozen: `with` gives an exception its traceback
class _Refusal(Exception):
    response: Response


class Enrolment:
    """Answers EST requests. `lifetime_s` is the life of the certificates it issues."""

    def __init__(
        self,
        authority: Authority,
        accounts: Accounts,
        database: Database,
        *,
        lifetime_s: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        self._accounts = accounts
        self._database = database
        self._lifetime_s = lifetime_s
        self._clock = clock
        self.refusals: deque[Refusal] = deque(maxlen=REFUSALS_MAX)

    async def answer(self, request: Request) -> Response:
        """Answer one request under PREFIX."""
        label, _, operation = request.path.removeprefix(PREFIX).rpartition("/")
        handlers = {
            ("GET", "cacerts"): lambda: self._cacerts(),
            ("POST", "simpleenroll"): lambda: self._enrol(request, label),
            ("POST", "simplereenroll"): lambda: self._reenrol(request),
        }
        handler = handlers.get((request.method, operation))
        if handler is None:
            is_known = operation in {name for _method, name in handlers}
            return message(405 if is_known else 404)
        return await self._answer(request, operation, handler)

    async def answer_token(self, request: Request, group: str) -> Response:
        """A one-time token for whoever signs in: what the set-up script exchanges a password for."""
        if request.method != "POST":
            return message(405)
        return await self._answer(request, "enrolment token", lambda: self._token(request, group))

    async def _answer(self, request: Request, operation: str, handler: Callable[[], Response]) -> Response:
        """The handler's answer; a refusal is kept for whoever looks."""
        try:
            response = await self._database.run(handler)
        except _Refusal as refusal:
            response = refusal.response
        except RequestRefusedError as error:
            response = message(400, str(error))
        if response.status >= 400:
            said = response.body.decode().strip()
            self.refusals.append(Refusal(self._clock(), request.peer, operation, response.status, said))
        return response

    def _token(self, request: Request, group: str) -> Response:
        user = self._signed_in(request)
        with self._database.write() as connection:
            found = groups.find(connection, group)
            if found is None:
                return message(404, f"there is no runtime group {group!r}")
            made = create_token(
                connection,
                found.id,
                created_by=f"user {user.name}",
                lifetime_s=SCRIPT_TOKEN_LIFETIME_S,
                now=self._clock(),
            )
        return Response(201, json.dumps(made).encode(), "application/json; charset=utf-8")

    def _cacerts(self) -> Response:
        return _certificates(self._authority.certificate, "application/pkcs7-mime")

    def _enrol(self, request: Request, label: str) -> Response:
        scheme, _, credentials = request.field(b"authorization").partition(" ")
        if scheme.lower() == "bearer":
            return self._enrol_by_token(request, credentials.strip())
        user = self._signed_in(request)
        signing_request = _signing_request(request.body)
        with self._database.write() as connection:
            group = groups.find(connection, label or groups.DEFAULT)
            if group is None:
                return message(404, f"there is no runtime group {label!r}")
            return self._issue(connection, signing_request, group.id, f"user {user.name}")

    def _signed_in(self, request: Request) -> User:
        """The user whose name and password a request carries, if allowed to enrol. Raises _Refusal."""
        scheme, _, credentials = request.field(b"authorization").partition(" ")
        if scheme.lower() != "basic":
            said = "enrolment needs a user name and password, or a one-time token"
            raise _Refusal(message(401, said, *CHALLENGE))
        name, password = _basic(credentials)
        try:
            user = self._accounts.sign_in(name, password, request.peer)
        except SignInError as error:
            LOG.warning("enrolment from %s refused: %s", request.peer, error)
            raise _Refusal(_refused(error)) from None
        if user.role != "admin":
            raise _Refusal(message(403, f"the role {user.role!r} may not enrol data planes"))
        return user

    def _enrol_by_token(self, request: Request, token: str) -> Response:
        try:
            self._accounts.check_address(request.peer)
        except SignInError as error:
            return _refused(error)
        signing_request = _signing_request(request.body)
        node_id = requested_node_id(signing_request)
        with self._database.write() as connection:
            used = try_use_token(connection, token, used_by=node_id, now=self._clock())
            if used is not None:
                token_id, group_id = used
                known = nodes.find(connection, node_id)
                if known is not None and known.group_id != group_id:
                    # whoever may enrol nodes in one group must not take over another's; the token stays good
                    said = "the node belongs to another runtime group: remove it there first, or enrol with another node id"
                    raise _Refusal(message(409, said))
                return self._issue(connection, signing_request, group_id, f"token {token_id}")
        self._accounts.wrong_token(request.peer)
        LOG.warning("enrolment from %s refused: the token is unknown, used or expired", request.peer)
        return message(401, "the enrolment token is unknown, used or expired", *CHALLENGE)

    def _reenrol(self, request: Request) -> Response:
        certificate = x509.load_der_x509_certificate(request.certificate) if request.certificate else None
        identity = self._authority.try_identify(certificate) if certificate is not None else None
        if identity is None:
            return message(403, "renewal needs the node's present, valid certificate in the TLS handshake")
        signing_request = _signing_request(request.body)
        if requested_node_id(signing_request) != identity.node_id:
            return message(403, "the request is for another node than the certificate")
        with self._database.write() as connection:
            if ledger.is_revoked(connection, identity.fingerprint):
                return message(403, "the node's certificate was revoked")
            return self._issue(connection, signing_request, identity.group_id, f"certificate {identity.serial}")

    def _issue(
        self, connection: sa.Connection, request: x509.CertificateSigningRequest, group_id: str, issued_to: str
    ) -> Response:
        certificate = self._authority.issue_node(request, group_id, self._lifetime_s)
        identity = self._authority.try_identify(certificate)
        assert identity is not None, "a certificate just issued identifies its node"
        ledger.record(connection, identity, issued_to=issued_to, now=self._clock())
        LOG.info("certificate %s for node %s, issued to %s", identity.serial, identity.node_id, issued_to)
        return _certificates(certificate, CERTS_ONLY)


def _certificates(certificate: x509.Certificate, content_type: str) -> Response:
    """A certs-only PKCS#7 in base64, as every EST answer with certificates is."""
    der = pkcs7.serialize_certificates([certificate], Encoding.DER)
    return Response(200, base64.encodebytes(der), content_type, (("Content-Transfer-Encoding", "base64"),))


def _signing_request(body: bytes) -> x509.CertificateSigningRequest:
    """The PKCS#10 request in a body: base64 of DER as the RFC says; PEM and DER are taken too. Raises _Refusal."""
    try:
        if b"-----BEGIN" in body:
            return x509.load_pem_x509_csr(body)
        if body[:1] == b"\x30" and not body.isascii():
            return x509.load_der_x509_csr(body)
        return x509.load_der_x509_csr(base64.b64decode(b"".join(body.split()), validate=True))
    except (ValueError, binascii.Error):
        raise _Refusal(message(400, "the body is not a certificate signing request (base64 of PKCS#10)")) from None


def _basic(credentials: str) -> tuple[str, str]:
    try:
        name, separator, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise _Refusal(message(401, "malformed Basic credentials", *CHALLENGE)) from None
    if not separator:
        raise _Refusal(message(401, "malformed Basic credentials", *CHALLENGE))
    return name, password


def _refused(error: SignInError) -> Response:
    if error.retry_after_s > 0:
        return message(429, str(error), ("Retry-After", str(math.ceil(error.retry_after_s))))
    return message(401, str(error), *CHALLENGE)
