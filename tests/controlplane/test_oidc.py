"""Signing in by OpenID Connect against a provider on loopback: who comes in, and what no answer can do."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from joserfc.jwk import KeySet

from kongdp.controlplane import audit, oidc, oidc_routes, users
from kongdp.controlplane.api.guard import COOKIE
from kongdp.controlplane.oidc import OidcError, OidcOptions, OidcSignIn
from kongdp.controlplane.oidc_provider import ANSWER_BYTES_MAX, Client, is_allowed
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.settings import SettingsError, load_settings
from tests.support.clock import FakeClock
from tests.support.control_plane_api import served
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, StandInProvider, provider, rsa_key, sent_back

ANN = {"sub": "ann-1", "email": "ann@example.com", "email_verified": True, "groups": ["staff", "gateway-admins"]}
CALLBACK = "http://127.0.0.1:8002/auth/oidc/callback"
BROWSER = "this browser"


BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def kind() -> str:
    """SQLite, but for tests that name both."""
    return "sqlite"


@pytest.fixture
def stand_in() -> Iterator[StandInProvider]:
    with provider() as state:
        state.signs_in = dict(ANN)
        yield state


def options(stand_in: StandInProvider, **change: Any) -> OidcOptions:
    client = Client(stand_in.issuer, CLIENT_ID, CLIENT_SECRET, ("openid", "email"))
    return replace(OidcOptions(client, roles={"gateway-admins": "admin", "staff": "viewer"}), **change)


def sign_in(door: OidcSignIn, stand_in: StandInProvider, **change: str) -> oidc.SignedIn:
    """The whole way of one browser; `change` is put into the answer."""
    answer = sent_back(stand_in, door.start(BROWSER, CALLBACK, "/services"))
    return door.finish({**answer, **change}, BROWSER, "", "10.0.0.1")


@BOTH
def test_a_person_comes_in_and_has_the_role_of_the_provider(stand_in: StandInProvider, database: Database) -> None:
    """The highest of several groups; a user is made once; the role follows at the next sign-in."""
    door = OidcSignIn(database, options(stand_in))
    first = sign_in(door, stand_in)
    assert (first.name, first.next) == ("ann@example.com", "/services")
    identity = users.try_session(database, first.session, time.time())
    assert identity is not None
    assert (identity.name, identity.role) == ("ann@example.com", "admin")
    stand_in.signs_in["groups"] = "staff"
    stand_in.signs_in["email"] = "other@example.com"
    with database.write() as connection:
        values = {"id": "1", "name": "root", "password_hash": "!", "role": "admin", "created_at": 0, "updated_at": 0}
        connection.execute(sa.insert(tables.users), values)
    second = sign_in(door, stand_in)
    assert (second.user_id, second.name) == (first.user_id, "ann@example.com")
    identity = users.try_session(database, second.session, time.time())
    assert identity is not None
    assert identity.role == "viewer"


@BOTH
def test_whoever_has_no_role_is_refused_and_loses_the_sessions(stand_in: StandInProvider, database: Database) -> None:
    """No user is made; one that was there keeps the account and nothing open."""
    door = OidcSignIn(database, options(stand_in, roles={"staff": "viewer"}))
    stand_in.signs_in["groups"] = ["guests", 3, None]
    with pytest.raises(OidcError, match="no role here"):
        sign_in(door, stand_in)
    with database.read() as connection:
        assert users.all_accounts(connection) == []
    stand_in.signs_in["groups"] = ["staff"]
    session = sign_in(door, stand_in).session
    del stand_in.signs_in["groups"]
    with pytest.raises(OidcError, match="no role here"):
        sign_in(door, stand_in)
    assert users.try_session(database, session, time.time()) is None
    assert sign_in(OidcSignIn(database, options(stand_in, default_role="editor")), stand_in)


def test_the_last_administrator_is_not_taken_away(stand_in: StandInProvider, database: Database) -> None:
    """Where the provider's role would leave none, the sign-in is refused and the role stays."""
    door = OidcSignIn(database, options(stand_in))
    sign_in(door, stand_in)
    stand_in.signs_in["groups"] = ["staff"]
    with pytest.raises(OidcError, match="last administrator"):
        sign_in(door, stand_in)
    with database.read() as connection:
        assert users.find(connection, "ann@example.com").role == "admin"


def test_a_name_that_is_taken_is_not_taken_over(stand_in: StandInProvider, database: Database) -> None:
    """Neither a local user's nor that of another subject."""
    door = OidcSignIn(database, options(stand_in))
    sign_in(door, stand_in)
    stand_in.signs_in["sub"] = "somebody else"
    with pytest.raises(OidcError, match="signs in otherwise"):
        sign_in(door, stand_in)


@pytest.mark.parametrize(
    ("person", "comes_in"),
    [
        ({}, True),
        ({"email": "ann@EXAMPLE.com"}, True),
        ({"email_verified": False}, False),
        ({"email_verified": "true"}, False),
        ({"email": "ann@example.com.evil"}, False),
        ({"email": "ann@evil@sub.example.com"}, False),
        ({"email": "example.com"}, False),
        ({"email": None}, False),
    ],
)
def test_only_verified_addresses_of_allowed_domains_come_in(
    stand_in: StandInProvider, database: Database, person: dict[str, Any], comes_in: bool
) -> None:
    """Where domains are set."""
    stand_in.signs_in |= person
    door = OidcSignIn(database, options(stand_in, domains=("example.com",), name_claim="sub"))
    if comes_in:
        assert sign_in(door, stand_in).name == "ann-1"
    else:
        with pytest.raises(OidcError, match="e-mail address"):
            sign_in(door, stand_in)


@pytest.mark.parametrize("name", [None, 3, "", " x", "a:b", "a\0b", "x" * 129])
def test_a_name_must_be_one(stand_in: StandInProvider, database: Database, name: Any) -> None:
    """What cannot name a user of ours is refused."""
    stand_in.signs_in["email"] = name
    with pytest.raises(OidcError, match="no usable name"):
        sign_in(OidcSignIn(database, options(stand_in)), stand_in)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "http://evil.example"},
        {"aud": "another client"},
        {"aud": ["another", "third"]},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\0b"},
    ],
)
def test_a_token_that_is_not_for_this_sign_in_is_refused(
    stand_in: StandInProvider, database: Database, changes: dict[str, Any]
) -> None:
    """Issuer, audience, nonce, time, subject."""
    stand_in.changes = changes
    with pytest.raises(OidcError, match="cannot be trusted"):
        sign_in(OidcSignIn(database, options(stand_in)), stand_in)


def test_a_token_that_the_provider_did_not_sign_is_refused(stand_in: StandInProvider, database: Database) -> None:
    """Without a signature, with the public key as a secret, with a key that is not published."""
    door = OidcSignIn(database, options(stand_in))
    for algorithm in ("none", "HS256"):
        stand_in.algorithm = algorithm
        with pytest.raises(OidcError, match="cannot be trusted"):
            sign_in(door, stand_in)
    stand_in.algorithm = "ES256"
    published = stand_in.published
    stand_in.new_key("two")
    stand_in.published = published
    with pytest.raises(OidcError, match="cannot be trusted"):
        sign_in(door, stand_in)


def test_the_provider_may_change_its_keys(stand_in: StandInProvider, database: Database) -> None:
    """An unknown key has them asked for again, but not at each token; other kinds of keys are taken."""
    clock = FakeClock()
    clock.advance(time.time() - clock())
    door = OidcSignIn(database, options(stand_in), clock)
    sign_in(door, stand_in)
    stand_in.key = rsa_key()
    stand_in.algorithm = "RS256"
    with pytest.raises(OidcError):
        sign_in(door, stand_in)
    assert stand_in.asked.count("/keys") == 1
    stand_in.published = KeySet([stand_in.key]).as_dict()
    clock.advance(61)
    assert sign_in(door, stand_in)
    assert stand_in.asked.count("/keys") == 2


@BOTH
def test_an_answer_is_good_once_and_for_the_browser_that_began(stand_in: StandInProvider, database: Database) -> None:
    """Another's state, no cookie, a second time, too late: refused before the provider is asked."""
    clock = FakeClock()
    clock.advance(time.time() - clock())
    door = OidcSignIn(database, options(stand_in), clock)
    answer = sent_back(stand_in, door.start(BROWSER, CALLBACK, "/"))
    asked = len(stand_in.asked)
    for shown, browser in ((answer, "another"), (answer, ""), ({**answer, "state": "x"}, BROWSER), ({}, BROWSER)):
        with pytest.raises(OidcError, match="start again"):
            door.finish(shown, browser, "", "10.0.0.1")
    assert len(stand_in.asked) == asked
    assert door.finish(answer, BROWSER, "", "10.0.0.1")
    with pytest.raises(OidcError, match="start again"):
        door.finish(answer, BROWSER, "", "10.0.0.1")
    late = sent_back(stand_in, door.start(BROWSER, CALLBACK, "/"))
    clock.advance(oidc.ATTEMPT_LIFETIME_S + 1)
    with pytest.raises(OidcError, match="start again"):
        door.finish(late, BROWSER, "", "10.0.0.1")


def test_an_answer_of_another_provider_is_refused(stand_in: StandInProvider, database: Database) -> None:
    """Mix-up: by the issuer in the answer, which must be there where the provider says that it is."""
    door = OidcSignIn(database, options(stand_in))
    with pytest.raises(OidcError, match="cannot be trusted"):
        sign_in(door, stand_in, iss="http://evil.example")
    assert sign_in(door, stand_in, iss=stand_in.issuer)
    stand_in.metadata = {"authorization_response_iss_parameter_supported": True}
    strict = OidcSignIn(database, options(stand_in))
    with pytest.raises(OidcError, match="cannot be trusted"):
        sign_in(strict, stand_in)


def test_a_code_without_its_verifier_or_from_elsewhere_gives_nothing(
    stand_in: StandInProvider, database: Database
) -> None:
    """PKCE: a stolen code put into somebody else's sign-in; a refusal of the provider; no code at all."""
    door = OidcSignIn(database, options(stand_in))
    stolen = sent_back(stand_in, door.start("victim", CALLBACK, "/"))
    mine = sent_back(stand_in, door.start(BROWSER, CALLBACK, "/"))
    with pytest.raises(OidcError, match="cannot be trusted"):
        door.finish({**mine, "code": stolen["code"]}, BROWSER, "", "10.0.0.1")
    for change in ({"error": "access_denied"}, {"code": ""}, {"code": "x" * 5000}):
        with pytest.raises(OidcError):
            sign_in(door, stand_in, **change)
    stand_in.answer = {"access_token": "x", "token_type": "Bearer"}
    with pytest.raises(OidcError, match="cannot be trusted"):
        sign_in(door, stand_in)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "http://evil.example"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "ftp://127.0.0.1/x"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "https://user:secret@h/token"},
        {"token_endpoint": None},
    ],
)
def test_discovery_cannot_send_us_anywhere_else(
    stand_in: StandInProvider, database: Database, metadata: dict[str, Any]
) -> None:
    """SSRF: only https, and http where the issuer itself is on loopback."""
    stand_in.metadata = metadata
    with pytest.raises(OidcError, match="cannot be reached"):
        OidcSignIn(database, options(stand_in)).start(BROWSER, CALLBACK, "/")
    assert stand_in.asked == ["/.well-known/openid-configuration"]


def test_no_redirect_is_followed_and_no_flood_is_read(stand_in: StandInProvider, database: Database) -> None:
    """The last answer that is taken is just below the bound."""
    stand_in.redirects = True
    with pytest.raises(OidcError):
        OidcSignIn(database, options(stand_in)).start(BROWSER, CALLBACK, "/")
    assert "/elsewhere" not in stand_in.asked
    stand_in.redirects = False
    stand_in.padding = ANSWER_BYTES_MAX
    with pytest.raises(OidcError):
        OidcSignIn(database, options(stand_in)).start(BROWSER, CALLBACK, "/")
    stand_in.padding = ANSWER_BYTES_MAX - 1000
    assert OidcSignIn(database, options(stand_in)).start(BROWSER, CALLBACK, "/")


@pytest.mark.parametrize(
    ("url", "issuer", "allowed"),
    [
        ("https://a/x", "https://a", True),
        ("https://b/x", "https://a", True),
        ("http://a/x", "https://a", False),
        ("http://127.0.0.1/x", "https://a", False),
        ("http://127.0.0.1:1/x", "http://localhost:2", True),
        ("http://10.0.0.1/x", "http://127.0.0.1", False),
        ("https:///x", "https://a", False),
        ("https://[x", "https://a", False),
    ],
)
def test_where_may_be_asked(url: str, issuer: str, allowed: bool) -> None:
    """TLS, or both on loopback."""
    assert is_allowed(url, issuer) is allowed


@BOTH
def test_sign_ins_under_way_are_bounded(
    stand_in: StandInProvider, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever begins over and over pushes out the oldest."""
    monkeypatch.setattr(oidc, "ATTEMPTS_MAX", 3)
    clock = FakeClock()
    clock.advance(time.time() - clock())
    door = OidcSignIn(database, options(stand_in), clock)
    answers = []
    for _time in range(4):
        clock.advance(1)
        answers.append(sent_back(stand_in, door.start(BROWSER, CALLBACK, "/")))
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.sign_in_attempts)) == 3
    with pytest.raises(OidcError, match="start again"):
        door.finish(answers[0], BROWSER, "", "10.0.0.1")
    assert door.finish(answers[1], BROWSER, "", "10.0.0.1")


def test_a_browser_goes_there_and_back(stand_in: StandInProvider, tmp_path: Path) -> None:
    """The two addresses: cookies that scripts cannot read, an old session over, a page that moves on, the audit log."""

    async def scenario() -> None:
        async with served(tmp_path) as api:
            plane = api.plane.plane
            assert not oidc_routes.is_configured(plane)
            plane.oidc = OidcSignIn(plane.database, options(stand_in), plane.clock)
            assert oidc_routes.is_configured(plane)
            app = FastAPI()
            app.include_router(oidc_routes.make_router(plane))
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client:
                began = await client.get("/auth/oidc/start", params={"next": "/services?q=<x>"})
                assert began.status_code == 303
                assert "HttpOnly" in began.headers["set-cookie"]
                answer = await asyncio.to_thread(sent_back, stand_in, began.headers["location"])
                back = await client.get("/auth/oidc/callback", params=answer)
                assert back.status_code == 200
                assert "url=/services?q=%3Cx%3E" in back.text
                session = client.cookies.get(COOKIE)
                assert session is not None
                cookie = next(each for each in back.headers.get_list("set-cookie") if each.startswith(COOKIE))
                assert "HttpOnly" in cookie
                assert "SameSite=strict" in cookie
                again = await client.get("/auth/oidc/callback", params=answer)
                assert (again.status_code, "start again" in again.text) == (400, True)
                elsewhere = await client.get("/auth/oidc/start", params={"next": "//evil.example"})
                answer = await asyncio.to_thread(sent_back, stand_in, elsewhere.headers["location"])
                assert 'content="0;url=/"' in (await client.get("/auth/oidc/callback", params=answer)).text
            assert users.try_session(plane.database, session, plane.clock()) is None
            with plane.database.read() as connection:
                said = [(each.actor, each.action, each.status) for each in audit.entries(connection, size=10)]
            assert ("ann@example.com", "GET /auth/oidc/callback", 200) in said
            assert ("sign-in", "GET /auth/oidc/callback", 400) in said

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"KONGDP_OIDC_ISSUER": "http://idp.example"}, "https"),
        ({"KONGDP_OIDC_CLIENT_ID": ""}, "kongdp_oidc_client_id"),
        ({"KONGDP_OIDC_ROLES": "staff=owner"}, "staff=owner"),
        ({"KONGDP_OIDC_ROLES": "=admin"}, "=admin"),
        ({"KONGDP_OIDC_DEFAULT_ROLE": "root"}, "kongdp_oidc_default_role"),
    ],
)
def test_settings_that_make_no_sense_are_named(change: dict[str, str], problem: str) -> None:
    """Before anything listens."""
    good = {"KONG_ROLE": "control_plane", "KONGDP_OIDC_ISSUER": "https://idp.example", "KONGDP_OIDC_CLIENT_ID": "x"}
    assert load_settings(None, good).kongdp_oidc_issuer == "https://idp.example"
    with pytest.raises(SettingsError) as caught:
        load_settings(None, good | change)
    assert problem in "\n".join(caught.value.problems)
