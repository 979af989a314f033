"""A secret in memory, and the same sealed for the store."""

import hmac
from dataclasses import dataclass
from typing import Final, NoReturn


class Secret:
    """A value that does not show itself: not in `repr`, `str`, f-strings, logs, tracebacks with
    locals, pickles or JSON. `reveal()` is the one way to it, and easy to search for."""

    __slots__ = ("_value",)
    _HIDDEN: Final = "Secret('***')"

    def __init__(self, value: str | bytes) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> str:
        """The value as text. Raises: UnicodeDecodeError if it is not UTF-8."""
        return self._value.decode()

    def reveal_bytes(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return self._HIDDEN

    def __str__(self) -> str:
        return self._HIDDEN

    def __format__(self, spec: str) -> str:
        return self._HIDDEN

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied out")


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret as the store keeps it (envelope encryption, AES-256-GCM).

    `ciphertext` is the value under a data key of its own, `wrapped_key` that data key under the
    master key `key_id`; both are bound to `name`. Times are seconds since the epoch.
    """

    name: str
    ciphertext: bytes
    nonce: bytes
    wrapped_key: bytes
    wrap_nonce: bytes
    key_id: str
    set_at: float
    set_by: str
