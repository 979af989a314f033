"""Second factors over a store, with a vault in memory."""

from taskgate.identity.second_factors import SecondFactors
from taskgate.model.errors import BadConfig
from taskgate.model.resource import SecretRef
from taskgate.model.secret import Secret
from taskgate.store.open import Store


class MemoryVault:
    """`identity.second_factors.Vault`."""

    def __init__(self) -> None:
        self.kept: dict[str, Secret] = {}

    async def set(self, name: str, value: Secret, *, by: str, now: float) -> None:
        self.kept[name] = value

    async def get(self, ref: SecretRef) -> Secret:
        if ref.name not in self.kept:
            raise BadConfig("not there")
        return self.kept[ref.name]

    async def remove(self, name: str) -> bool:
        return self.kept.pop(name, None) is not None


def second_factors(store: Store, vault: MemoryVault | None = None) -> SecondFactors:
    return SecondFactors(store.factors, vault or MemoryVault(), "taskgate")
