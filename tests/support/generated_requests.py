"""Requests that schemathesis makes from a control plane's OpenAPI document, sound ones and wrong ones, sent to it.

Addresses mostly name things that are there (`plant` makes them): otherwise nearly every answer would be 404.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FailedHealthCheck, Unsatisfiable
from schemathesis import GenerationMode

from tests.support.certificates import make

# Of a hundred addresses, how many name something that is there.
KNOWN_PERCENT = 75
CREDENTIALS = {
    "keyauth_credentials": ("key-auth", {}),
    "basicauth_credentials": ("basic-auth", {"username": "u", "password": "p"}),
    "jwt_secrets": ("jwt", {}),
    "acls": ("acls", {"group": "g"}),
    "hmacauth_credentials": ("hmac-auth", {"username": "u"}),
}


class Target:
    """A control plane, and what is planted in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        # Our own cookies would make the control plane ask for a CSRF token.
        self.session.cookies.set_policy(NoCookies())
        self.known: dict[str, list[Any]] = {}
        self._pair = make("known.test", names=("known.test",))
        self._authority = make("authority", is_authority=True)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer, whatever its status."""
        response = self.session.request(method, self.url + path, json=body, timeout=30)
        return response.json() if response.content else None

    def plant(self) -> None:
        """Make one of everything, as far as it is not there."""
        for path, body in (
            ("/services/known", {"host": "h", "protocol": "https"}),
            ("/routes/known", {"paths": ["/x"], "service": {"name": "known"}}),
            ("/consumers/known", {}),
            ("/upstreams/known", {}),
            ("/upstreams/known/targets/h:80", {}),
            ("/key-sets/known", {}),
            ("/keys/known", {"kid": "a", "jwk": '{"kid":"a","kty":"oct"}'}),
            ("/vaults/known", {"name": "env", "config": {}}),
            ("/certificates/known.test", {"cert": self._pair.pem.decode(), "key": self._pair.key_pem.decode()}),
        ):
            self.ask("PUT", path, body)
        self.ask("POST", "/ca_certificates", {"cert": self._authority.pem.decode()})
        self.ask("POST", "/plugins", {"name": "cors", "service": {"name": "known"}})
        self.ask("POST", "/v2/control-planes", {"name": "team"})
        self.ask("POST", "/v2/catalogue/services", {"name": "known"})
        self.ask("POST", "/v2/catalogue/services/known/versions", {"name": "v1"})
        self.ask("POST", "/v2/users", {"name": "known", "password": "a long password", "role": "editor"})
        names = ("services", "routes", "consumers", "upstreams", "key_sets", "keys", "vaults", "service", "user")
        self.known = {
            **{name: ["known"] for name in names},
            "certificates": ["known.test"],
            "snis": ["known.test"],
            "targets": ["h:80"],
            "plugin": ["cors", "acl"],
            "vault": ["env"],
            "collection": ["services", "routes", "plugins"],
            "group": ["default", "team"],
            "number": [0, 1, 2],
            "plugins": self._ids("/plugins", "data"),
            "ca_certificates": self._ids("/ca_certificates", "data"),
            "version": self._ids("/v2/catalogue/services/known/versions", "items"),
        }
        for collection, (path, body) in CREDENTIALS.items():
            self.ask("POST", f"/consumers/known/{path}", body)
            self.known[collection] = self._ids(f"/consumers/known/{path}", "data")

    def _ids(self, path: str, name: str) -> list[str]:
        return [row["id"] for row in (self.ask("GET", path) or {}).get(name, ())][:2]


class NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]
    """Takes no cookie."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


def operations(url: str) -> list[Any]:
    """Every operation of the document."""
    schema = schemathesis.openapi.from_url(f"{url}/v2/openapi.json")
    return [result.ok() for result in schema.get_all_operations()]


def failures(target: Target, operation: Any, count: int, number: int) -> Iterator[str]:
    """What went wrong with `count` sound and as many wrong requests of one operation: answers of 500 and above, none at all."""
    found: list[str] = []
    random = Random(number)

    def call(case: Any) -> None:
        for name in case.path_parameters or ():
            if target.known.get(name) and random.randrange(100) < KNOWN_PERCENT:
                case.path_parameters[name] = random.choice(target.known[name])
        response = case.call(session=target.session, timeout=30)
        if response.status_code >= 500 and not is_kongs_own(case, response.text):
            found.append(f"{response.status_code}: {case.as_curl_command()}\n{response.text[:300]}")

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        run = given(case=operation.as_strategy(generation_mode=mode))(call)
        run = settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[check for check in HealthCheck if check is not HealthCheck.filter_too_much],
        )(run)
        try:
            seed(number)(run)()
        except (Unsatisfiable, FailedHealthCheck):
            pass  # nothing can be wrong about a request without arguments, which fifty drafts in a row show
    yield from found


def is_kongs_own(case: Any, answer: str) -> bool:
    """Kong 3.9.1 stumbles over a list for an entity, and the recorded conversation has us do the same with the one in it."""
    return case.body == [1] and answer == '{"message":"An unexpected error occurred"}'
