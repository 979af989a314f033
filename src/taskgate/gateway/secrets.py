"""Where secrets are found: the environment, a file, or the store under the master key.

Nothing is cached: a password that was changed counts at the next connection.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, assert_never, cast, get_args

from taskgate.gateway import envelope, master_key
from taskgate.gateway.master_key import MasterKey, new_master_key
from taskgate.gateway.private_files import read_private
from taskgate.model import limits
from taskgate.model.errors import BadConfig, Conflict
from taskgate.model.ports import SecretStore
from taskgate.model.resource import SecretRef
from taskgate.model.secret import SealedSecret, Secret

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z")
Source = Literal["env", "file", "store"]


class Secrets:
    """Looks secrets up, and keeps those of the store. `master` says where the master key is: a
    `file`, made at the first start, or a line of the same form in the environment (`env`)."""

    def __init__(
        self,
        store: SecretStore,
        master: SecretRef,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._store = store
        self._master = master
        self._environment = environment
        self._one_rotation = asyncio.Lock()

    async def get(self, ref: SecretRef) -> Secret:
        """The value behind `ref`.

        Raises: BadConfig (not there, readable by everybody, empty, too large; never with any
        part of the value), StoreUnavailable.
        """
        if ref.source not in get_args(Source):
            raise BadConfig(f"a secret cannot come from {ref.source}: env, file and store can")
        source = cast(Source, ref.source)
        match source:
            case "env":
                found = self._from_environment(ref.name)
            case "file":
                found = await asyncio.to_thread(read_secret_file, Path(ref.name))
            case "store":
                found = await self._from_store(ref.name)
            case _:
                assert_never(source)
        if not found:
            raise BadConfig(f"the secret {ref.source}:{ref.name} is empty")
        return found

    async def set(self, name: str, value: Secret, *, by: str, now: float) -> None:
        """Seals and keeps a value; one of that name is replaced. `now` is in epoch seconds.

        Raises: BadConfig, StoreUnavailable.
        """
        await self._store.put(await self._sealed(name, value, by, now))

    async def set_once(self, name: str, value: Secret, *, by: str, now: float) -> Secret:
        """The same, unless there is one of that name: then that one stays. The one that counts,
        the same for all who call at once, on any node.

        Raises: BadConfig, StoreUnavailable.
        """
        await self._store.add(await self._sealed(name, value, by, now))
        return await self._from_store(name)

    async def list(self) -> tuple[SealedSecret, ...]:
        """What there is, still sealed, by name. Raises: StoreUnavailable."""
        return await self._store.list()

    async def remove(self, name: str) -> bool:
        """Forgets it; False if there was none. Raises: StoreUnavailable."""
        return await self._store.remove(name)

    async def prepare(self) -> None:
        """Makes the master key at the first start, and checks that it opens what is stored.

        Raises: BadConfig, StoreUnavailable.
        """
        keys = await self._keys()
        for sealed in await self._store.list():
            await asyncio.to_thread(envelope.unseal, sealed, keys)

    async def rotate(self) -> str:
        """A new master key for every stored secret; its id.

        The new key is on the disk before the first secret is wrapped under it, and the old one
        stays there until the last has been: a crash at any point loses nothing.
        Raises: BadConfig (also where the key is not in a file: only a file can be rewritten);
        Conflict if a secret was set meanwhile (try again); StoreUnavailable.
        """
        if self._master.source != "file":
            raise BadConfig(
                "only a master key in a file can be rotated",
                hint="name a file as master_key in the gateway's configuration",
            )
        path = Path(self._master.name)
        async with self._one_rotation:
            old = await self._keys()
            fresh = new_master_key()
            await asyncio.to_thread(master_key.replace, path, (fresh, *old))
            sealed = await self._store.list()
            changed = [(one, envelope.rewrap(one, old, fresh)) for one in sealed]
            if not await self._store.rewrap(changed) or any(
                one.key_id != fresh.id for one in await self._store.list()
            ):
                raise Conflict(
                    "a secret was set while the master key was being rotated",
                    hint="rotate again; nothing was lost",
                )
            await asyncio.to_thread(master_key.replace, path, (fresh,))
            return fresh.id

    async def _sealed(self, name: str, value: Secret, by: str, now: float) -> SealedSecret:
        if not _NAME.match(name):
            raise BadConfig("a secret's name has 1 to 128 of letters, digits, '.', '_', '-', '/'")
        size = len(value.reveal_bytes())
        if not 0 < size <= limits.MAX_SECRET_BYTES:
            raise BadConfig(f"a secret has 1 to {limits.MAX_SECRET_BYTES} bytes, not {size}")
        keys = await self._keys()
        return envelope.seal(name, value, keys[0], now, by)

    async def _keys(self) -> tuple[MasterKey, ...]:
        match self._master.source:
            case "file":
                return await asyncio.to_thread(master_key.load_or_create, Path(self._master.name))
            case "env":
                name = self._master.name
                return master_key.parse(
                    self._from_environment(name).reveal_bytes(), f"the master key in {name}"
                )
            case other:
                raise BadConfig(f"the master key cannot come from {other}: file and env can")

    def _from_environment(self, name: str) -> Secret:
        value = self._environment.get(name)
        if value is None:
            raise BadConfig(
                f"the gateway's environment has no {name}, where a secret should be",
                hint="set it for the gateway's process, or name another place in the policy",
            )
        # Bytes as they were given: the environment need not be UTF-8 (PEP 383).
        return Secret(os.fsencode(value))

    async def _from_store(self, name: str) -> Secret:
        sealed = await self._store.get(name)
        if sealed is None:
            raise BadConfig(f"the store holds no secret {name}", hint=f"taskgate secret set {name}")
        return envelope.unseal(sealed, await self._keys())


def read_secret_file(path: Path) -> Secret:
    """A file that holds a secret and nothing else; one line break at its end does not count.

    Raises: BadConfig where it is not there, no regular file, too large, or open to everybody.
    """
    value = read_private(
        path,
        what=f"the secret file {path}",
        # A group may read it (containers mount them so); nobody else, and none may change it.
        forbidden=0o027,
        max_bytes=limits.MAX_SECRET_BYTES,
    )
    return Secret(value.removesuffix(b"\n").removesuffix(b"\r"))
