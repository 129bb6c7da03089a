"""The first administrator, passwords, one-time tokens and slowing down who guesses."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from kongdp.controlplane import accounts
from kongdp.controlplane.accounts import Accounts
from kongdp.controlplane.passwords import SignInError
from kongdp.controlplane.store import tables
from kongdp.controlplane.store.database import Database
from kongdp.controlplane.throttle import FAILURES_FREE, KEYS_MAX, Throttle

# As cheap as the algorithm allows: these tests are about who gets in, not about how hard a hash is.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Moment:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Moment:
    """A clock that the test moves."""
    return Moment()


@pytest.fixture
def people(database: Database, clock: Moment) -> Accounts:
    """Accounts over a fresh database."""
    return Accounts(database, clock=clock, hasher=CHEAP)


def test_the_first_start_makes_an_administrator_and_no_later_one_does(people: Accounts, database: Database) -> None:
    """The password is told once and stored only as a hash."""
    password = people.ensure_admin()
    assert password is not None
    assert people.ensure_admin() is None
    assert people.sign_in("admin", password, "10.0.0.1").role == "admin"
    with database.read() as connection:
        stored = connection.scalar(sa.select(tables.users.c.password_hash))
    assert stored.startswith("$argon2id$")
    assert password not in stored


def test_planes_that_start_together_make_one_administrator(people: Accounts) -> None:
    """One of them tells a password, and it is the one that fits; none fails."""
    with ThreadPoolExecutor(4) as pool:
        told = [password for password in pool.map(lambda _: people.ensure_admin(), range(4)) if password is not None]
    assert len(told) == 1
    assert people.sign_in("admin", told[0], "10.0.0.1").role == "admin"


@pytest.mark.parametrize("attempt", [("admin", "wrong"), ("nobody", "wrong"), ("", ""), ("admin", "x" * 100_000)])
def test_a_wrong_sign_in_says_no_more_than_that(people: Accounts, attempt: tuple[str, str]) -> None:
    """An unknown name and a wrong password are told in the same words."""
    people.ensure_admin()
    with pytest.raises(SignInError, match=r"^wrong user name or password$"):
        people.sign_in(*attempt, "10.0.0.1")


def test_guessing_is_slowed_by_name_and_by_address(people: Accounts, clock: Moment) -> None:
    """After the free failures even the right password must wait, from anywhere; another name from the address too."""
    password = people.ensure_admin()
    assert password is not None
    for _ in range(FAILURES_FREE):
        with pytest.raises(SignInError, match="wrong"):
            people.sign_in("admin", "guess", "10.0.0.1")
    for name, address in (("admin", "10.0.0.2"), ("other", "10.0.0.1")):
        with pytest.raises(SignInError, match="too many") as caught:
            people.sign_in(name, password, address)
        assert caught.value.retry_after_s > 0
    clock.now += 2
    assert people.sign_in("admin", password, "10.0.0.2").name == "admin"


def test_the_wait_doubles_up_to_its_limit_and_is_forgotten() -> None:
    """One second, two, four ... five minutes; a quarter of an hour of peace forgets it all."""
    throttle, now, waits = Throttle(), 0.0, []
    for _ in range(16):
        throttle.failed("key", now)
        waits.append(throttle.wait_s("key", now))
        now += waits[-1]
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:8] == [1, 2, 4, 8]
    assert waits[-1] == 300
    now += 1000
    throttle.failed("key", now)
    assert throttle.wait_s("key", now) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    """A flood of names forgets the oldest ones and grows no further."""
    throttle = Throttle()
    for number in range(KEYS_MAX + 50):
        for _ in range(FAILURES_FREE):
            throttle.failed(f"key {number}", 0.0)
    assert throttle.wait_s("key 0", 0.0) == 0
    assert throttle.wait_s(f"key {KEYS_MAX + 49}", 0.0) > 0


def made_token(database: Database, group_id: str, **options: Any) -> str:
    with database.write() as connection:
        made = accounts.create_token(
            connection, group_id, **{"created_by": "test", "lifetime_s": 60.0, "now": 1000.0, **options}
        )
    return str(made["token"])


def used(database: Database, token: str, now: float) -> tuple[str, str] | None:
    with database.write() as connection:
        return accounts.try_use_token(connection, token, used_by="node", now=now)


def test_a_token_is_good_once(database: Database, group_id: str) -> None:
    """It names its group; the second use, a wrong text and a text with odd characters are nothing."""
    token = made_token(database, group_id)
    first = used(database, token, 1010.0)
    assert first is not None
    assert first[1] == group_id
    assert used(database, token, 1010.0) is None
    assert used(database, token + "x", 1010.0) is None
    assert used(database, "\udcff", 1010.0) is None


def test_a_token_is_not_good_after_its_time(database: Database, group_id: str) -> None:
    """The end of its life is exclusive."""
    token = made_token(database, group_id)
    assert used(database, token, 1060.0) is None
    assert used(database, token, 1059.9) is not None


def test_a_token_may_be_used_again_when_its_transaction_failed(database: Database, group_id: str) -> None:
    """What could not be finished has not used it up."""
    token = made_token(database, group_id)

    def fail() -> None:
        with database.write() as connection:
            assert accounts.try_use_token(connection, token, used_by="node", now=1010.0) is not None
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert used(database, token, 1010.0) is not None


def test_only_a_digest_of_a_token_is_stored(database: Database, group_id: str) -> None:
    """Whoever reads the database cannot enrol."""
    token = made_token(database, group_id)
    with database.read() as connection:
        (row,) = connection.execute(sa.select(tables.enrolment_tokens)).all()
    assert token not in str(row)
