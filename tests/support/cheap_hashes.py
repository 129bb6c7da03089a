"""Password hashes that cost nothing: a real one takes a fifth of a second of processor time, and tests have a thousand."""

from argon2 import PasswordHasher


def make_hasher() -> PasswordHasher:
    """In place of `PasswordHasher()`, which reads these hashes too: each says how it was made."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
