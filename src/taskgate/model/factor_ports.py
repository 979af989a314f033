"""What second factors ask of a state store; see `model.ports`."""

from collections.abc import Collection
from typing import Protocol

from taskgate.model.factor import Authenticator, Challenge, Factors, Passkey


class FactorStore(Protocol):
    """What local users prove themselves with besides a password."""

    async def of(self, user: str) -> Factors: ...

    async def add_authenticator(self, one: Authenticator, most: int) -> None:
        """Raises: NotFound for an unknown user; OverLimit past `most` factors."""
        ...

    async def confirm_authenticator(
        self, factor_id: str, step: int, at: float, codes: Collection[str]
    ) -> bool:
        """Lets it count, and takes the code of `step`; False if that was taken already, or it is
        gone. `codes`, where there are any, replace the user's recovery codes (hashed)."""
        ...

    async def use_step(self, factor_id: str, step: int, at: float) -> bool:
        """Takes the code of a step: True for one caller, and for no earlier step after it."""
        ...

    async def add_passkey(self, passkey: Passkey, codes: Collection[str], most: int) -> None:
        """Raises: NotFound, OverLimit; Conflict if the credential is known."""
        ...

    async def passkey(self, credential_id: bytes) -> Passkey | None: ...

    async def use_passkey(self, factor_id: str, before: int, after: int, at: float) -> bool:
        """Moves its counter; False if somebody else did meanwhile, or it is gone."""
        ...

    async def replace_codes(self, user: str, codes: Collection[str]) -> None:
        """The user's recovery codes (hashed), in place of all before."""
        ...

    async def use_code(self, user: str, code_hash: str) -> bool:
        """Spends a recovery code: True for one caller."""
        ...

    async def remove(self, user: str, factor_id: str) -> bool:
        """With the last factor that counts, recovery codes go too. Raises: NotFound (user)."""
        ...

    async def reset(self, user: str, at: float, why: str) -> tuple[str, ...]:
        """Removes all the user has, and cuts them off; the factors' ids. Raises: NotFound."""
        ...

    async def ask(self, challenge: Challenge, now: float) -> None:
        """Keeps a challenge, and forgets those that are over. Raises: OverLimit."""
        ...

    async def spend(self, digest: str, purpose: str, user: str, now: float) -> bool:
        """Takes an answer to a challenge: True for one caller, in time, of this purpose."""
        ...
