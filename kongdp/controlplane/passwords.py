"""Checking passwords: argon2 hashes, and whoever guesses must wait.

In: what somebody typed, and the hash of whom they say they are, if there is such a person.  Out: nothing, or SignInError,
which says no more than a stranger may know: neither words nor time tell whether a name exists.
Cold: checking takes tens of milliseconds on purpose; called off the event loop.
"""

import secrets
import threading
from collections.abc import Callable
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kongdp.controlplane.throttle import Throttle
from kongdp.errors import KongdpError, Source

PASSWORD_LENGTH_MAX = 1024
# What is kept for somebody without a password: no hash, so that none fits.
NO_PASSWORD = "!"


class SignInError(KongdpError):
    """Name or password is wrong, or it is too early to try again (`retry_after_s` > 0)."""

    source = Source.CLIENT

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Passwords:
    """The hasher, and failures by name and address."""

    def __init__(self, clock: Callable[[], float], hasher: PasswordHasher | None = None) -> None:
        self.hasher = hasher or PasswordHasher()
        self._clock = clock
        self._throttle = Throttle()
        self._lock = threading.Lock()

    def check_wait(self, *keys: str) -> None:
        """Raise SignInError while one of the keys must wait."""
        with self._lock:
            wait = max(self._throttle.wait_s(key, self._clock()) for key in keys)
        if wait > 0:
            raise SignInError("too many failed attempts", retry_after_s=wait)

    def failed(self, *keys: str) -> None:
        """Count a failure of each key."""
        with self._lock:
            for key in keys:
                self._throttle.failed(key, self._clock())

    def is_right(self, hashed: str | None, password: str, *keys: str) -> bool:
        """Whether a password fits a hash; the keys' failures are counted, or forgotten. `hashed` None: nobody's, which
        takes as long.
        """
        fits = self._matches(self._decoy if hashed is None else hashed, password) and hashed is not None
        if not fits:
            self.failed(*keys)
            return False
        with self._lock:
            for key in keys:
                self._throttle.succeeded(key)
        return True

    @cached_property
    def _decoy(self) -> str:
        return self.hasher.hash(secrets.token_urlsafe(16))

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return len(password) <= PASSWORD_LENGTH_MAX and self.hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
