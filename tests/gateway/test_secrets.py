# ruff: noqa: ASYNC240 - small files, and nothing else runs
"""Where secrets come from, how they are kept, and that they do not show."""

import asyncio
import json
import logging
import os
import pickle
import stat
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskgate.gateway import envelope, master_key
from taskgate.gateway.master_key import new_master_key
from taskgate.gateway.secrets import Secrets
from taskgate.model import limits
from taskgate.model.errors import BadConfig, Conflict
from taskgate.model.resource import SecretRef
from taskgate.model.secret import SealedSecret, Secret
from taskgate.store.open import Store
from tests.store.places import KINDS, Place, new_place
from tests.store.samples import NOW

VALUE = "hunter2-hunter2"


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with new_place(request, tmp_path, request.param) as place:
        yield place


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with place.open() as store:
        yield store


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "master.key"


@pytest.fixture
def secrets(store: Store, key_file: Path) -> Secrets:
    return Secrets(store.secrets, SecretRef("file", str(key_file)), {"PW": VALUE, "EMPTY": ""})


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret(VALUE)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        "%s" % secret,  # noqa: UP031
        repr([secret]),
        repr({"password": secret}),
        str(logging.LogRecord("x", 1, "x", 1, "pw %s", (secret,), None).getMessage()),
    ]
    try:
        raise ValueError(secret)
    except ValueError:
        shown.append(traceback.format_exc())
    assert not any(VALUE in one for one in shown)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == VALUE
    assert secret == Secret(VALUE.encode())
    assert secret != Secret("x")
    assert len({secret, Secret(VALUE)}) == 1


async def test_from_the_environment(secrets: Secrets) -> None:
    assert (await secrets.get(SecretRef("env", "PW"))).reveal() == VALUE
    for name in ("NOT_THERE", "EMPTY"):
        with pytest.raises(BadConfig, match=name):
            await secrets.get(SecretRef("env", name))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"pw", b"pw"),
        (b"pw\n", b"pw"),
        (b"pw\r\n", b"pw"),
        (b" pw \n\n", b" pw \n"),
        (b"\xff", b"\xff"),
    ],
)
async def test_from_a_file_as_it_is_but_for_one_line_break(
    secrets: Secrets, tmp_path: Path, content: bytes, value: bytes
) -> None:
    path = tmp_path / "pw"
    path.write_bytes(content)
    path.chmod(0o600)
    assert (await secrets.get(SecretRef("file", str(path)))).reveal_bytes() == value


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601, 0o660, 0o620, 0o666])
async def test_a_file_that_others_can_read_or_change_is_refused(
    secrets: Secrets, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "pw"
    path.write_text(VALUE)
    path.chmod(mode)
    with pytest.raises(BadConfig, match="open to others") as caught:
        await secrets.get(SecretRef("file", str(path)))
    assert VALUE not in repr(caught.value)


async def test_what_is_no_secret_file_is_refused_without_waiting(
    secrets: Secrets, tmp_path: Path
) -> None:
    fifo, large, empty = tmp_path / "fifo", tmp_path / "large", tmp_path / "empty"
    os.mkfifo(fifo, 0o600)
    large.write_bytes(b"x" * (limits.MAX_SECRET_BYTES + 1))
    empty.write_bytes(b"\n")
    for path in (large, empty):
        path.chmod(0o600)
    for path in (fifo, large, empty, tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(BadConfig):
            await secrets.get(SecretRef("file", str(path)))
    with pytest.raises(BadConfig, match="cannot come from"):
        await secrets.get(SecretRef("vault", "x"))


async def test_from_the_store_where_only_ciphertext_is(
    secrets: Secrets, store: Store, place: Place
) -> None:
    await secrets.set("db/main", Secret(VALUE), by="local:root", now=NOW)
    assert (await secrets.get(SecretRef("store", "db/main"))).reveal() == VALUE
    (sealed,) = await secrets.list()
    assert (sealed.name, sealed.set_by, sealed.set_at) == ("db/main", "local:root", NOW)
    assert VALUE.encode() not in sealed.ciphertext + sealed.wrapped_key
    if place.path is not None:
        on_disk = b"".join(file.read_bytes() for file in place.path.parent.glob("state.db*"))
        assert b"db/main" in on_disk
        assert VALUE.encode() not in on_disk
    assert await secrets.remove("db/main")
    assert not await secrets.remove("db/main")
    with pytest.raises(BadConfig, match="holds no secret"):
        await secrets.get(SecretRef("store", "db/main"))


async def test_the_same_value_twice_looks_different(secrets: Secrets) -> None:
    for name in ("a", "b"):
        await secrets.set(name, Secret(VALUE), by="x", now=NOW)
    first, second = await secrets.list()
    assert first.ciphertext[:8] != second.ciphertext[:8]
    assert first.nonce != second.nonce


@pytest.mark.parametrize("name", ["", " ", "../x", "a\nb", "a b", "x" * 129, "é"])
async def test_a_name_that_is_none_is_refused(secrets: Secrets, name: str) -> None:
    with pytest.raises(BadConfig):
        await secrets.set(name, Secret(VALUE), by="x", now=NOW)


@pytest.mark.cap("MAX_SECRET_BYTES")
async def test_a_value_has_a_size(secrets: Secrets) -> None:
    for value in (b"", b"x" * (limits.MAX_SECRET_BYTES + 1)):
        with pytest.raises(BadConfig):
            await secrets.set("x", Secret(value), by="x", now=NOW)


async def test_a_row_under_another_name_or_changed_anywhere_does_not_open(
    secrets: Secrets, store: Store
) -> None:
    await secrets.set("cheap", Secret("nothing"), by="x", now=NOW)
    await secrets.set("dear", Secret(VALUE), by="x", now=NOW)
    dear = await store.secrets.get("dear")
    cheap = await store.secrets.get("cheap")
    assert dear is not None
    assert cheap is not None

    def flipped(data: bytes) -> bytes:
        return bytes([data[0] ^ 1]) + data[1:]

    forged: list[SealedSecret] = [
        replace(dear, name="cheap"),
        replace(cheap, ciphertext=dear.ciphertext, nonce=dear.nonce),
        replace(cheap, wrapped_key=dear.wrapped_key, wrap_nonce=dear.wrap_nonce),
        replace(cheap, ciphertext=flipped(cheap.ciphertext)),
        replace(cheap, nonce=flipped(cheap.nonce)),
        replace(cheap, wrapped_key=flipped(cheap.wrapped_key)),
        replace(cheap, ciphertext=b""),
        replace(cheap, key_id="0" * 16),
    ]
    for one in forged:
        await store.secrets.put(one)
        with pytest.raises(BadConfig) as caught:
            await secrets.get(SecretRef("store", "cheap"))
        assert VALUE not in repr(caught.value)
        with pytest.raises(BadConfig):
            await secrets.prepare()


async def test_the_master_key_is_made_once_and_is_its_owner_s_alone(
    secrets: Secrets, key_file: Path, store: Store
) -> None:
    old_mask = os.umask(0)
    try:
        await secrets.prepare()
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    before = key_file.read_bytes()
    await secrets.set("x", Secret(VALUE), by="x", now=NOW)
    again = Secrets(store.secrets, SecretRef("file", str(key_file)))
    await again.prepare()
    assert key_file.read_bytes() == before
    assert (await again.get(SecretRef("store", "x"))).reveal() == VALUE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
async def test_a_master_key_that_others_can_read_is_not_used(
    secrets: Secrets, key_file: Path, mode: int
) -> None:
    await secrets.prepare()
    key_file.chmod(mode)
    with pytest.raises(BadConfig, match="open to others"):
        await secrets.prepare()


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"taskgate-master-key-1 a QUJD\n"])
async def test_a_master_key_that_is_none_is_neither_used_nor_replaced_nor_shown(
    secrets: Secrets, key_file: Path, content: bytes
) -> None:
    key_file.write_bytes(content)
    key_file.chmod(0o600)
    with pytest.raises(BadConfig) as caught:
        await secrets.set("x", Secret(VALUE), by="x", now=NOW)
    assert key_file.read_bytes() == content
    assert "QUJD" not in str(caught.value)


async def test_a_lost_master_key_is_told_and_no_new_one_hides_it(
    secrets: Secrets, key_file: Path
) -> None:
    await secrets.set("x", Secret(VALUE), by="x", now=NOW)
    key_file.unlink()
    with pytest.raises(BadConfig, match="master key"):
        await secrets.prepare()


async def test_rotation_keeps_every_value_and_forgets_the_old_key(
    secrets: Secrets, store: Store, key_file: Path
) -> None:
    for name in ("a", "b"):
        await secrets.set(name, Secret(VALUE + name), by="x", now=NOW)
    old = master_key.load(key_file)
    before = await secrets.list()
    key_id = await secrets.rotate()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [key.id for key in master_key.load(key_file)] == [key_id]
    after = await secrets.list()
    assert {one.key_id for one in after} == {key_id}
    assert [one.ciphertext for one in after] == [one.ciphertext for one in before]
    for name in ("a", "b"):
        assert (await secrets.get(SecretRef("store", name))).reveal() == VALUE + name
    with pytest.raises(BadConfig):
        envelope.unseal(after[0], old)
    assert sorted(path.name for path in key_file.parent.glob("master*")) == ["master.key"]


async def test_a_rotation_that_stops_anywhere_loses_nothing(
    secrets: Secrets, store: Store, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await secrets.set("a", Secret(VALUE), by="x", now=NOW)

    async def changed_meanwhile(_: object) -> bool:
        return False

    with monkeypatch.context() as patched:
        patched.setattr(store.secrets, "rewrap", changed_meanwhile)
        with pytest.raises(Conflict):
            await secrets.rotate()
    # Both keys are there: the old row opens, and what is set now is sealed under the new one.
    assert len(master_key.load(key_file)) == 2
    assert (await secrets.get(SecretRef("store", "a"))).reveal() == VALUE
    await secrets.set("b", Secret(VALUE), by="x", now=NOW)
    await secrets.rotate()
    assert len(master_key.load(key_file)) == 1
    for name in ("a", "b"):
        assert (await secrets.get(SecretRef("store", name))).reveal() == VALUE


async def test_a_master_key_may_come_from_the_environment(store: Store) -> None:
    import base64

    key = new_master_key()
    line = f"taskgate-master-key-1 {key.id} {base64.b64encode(key.key).decode()}"
    secrets = Secrets(store.secrets, SecretRef("env", "MASTER"), {"MASTER": line})
    await secrets.set("a", Secret(VALUE), by="x", now=NOW)
    assert (await secrets.get(SecretRef("store", "a"))).reveal() == VALUE
    with pytest.raises(BadConfig, match="in a file"):
        await secrets.rotate()
    assert key.key.hex() not in repr(key)
    for reference in (SecretRef("env", "OTHER"), SecretRef("store", "a")):
        with pytest.raises(BadConfig):
            await Secrets(store.secrets, reference, {"OTHER": "x"}).prepare()


async def test_a_secret_that_is_made_once_is_the_same_for_all_who_make_it(
    place: Place, key_file: Path
) -> None:
    master = SecretRef("file", str(key_file))
    async with place.open() as first, place.open() as second:
        await Secrets(first.secrets, master).prepare()
        made = await asyncio.gather(
            *(
                Secrets(node.secrets, master).set_once(
                    "mask-key", Secret(f"{number}"), by="x", now=NOW
                )
                for number, node in enumerate((first, second) * 3)
            )
        )
        assert len(set(made)) == 1
