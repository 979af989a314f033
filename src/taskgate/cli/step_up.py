"""Signing in again where a task wants a stronger or newer sign-in, and going on from there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from taskgate.cli import profile as profiles
from taskgate.cli.client import Client, Refused
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import tell

if TYPE_CHECKING:
    from taskgate.api.shapes import LoggedIn

T = TypeVar("T")


def stepping_up(client: Client, work: Callable[[Client], T]) -> tuple[Client, T]:
    """What `work` does, once more after a new sign-in if this one was not enough; and the client
    that is signed in then. Where nobody is there to sign in, the refusal stands.

    `TASKGATE_STEP_UP` (`yes` or `no`) decides, and without it whether there is a terminal: a job
    must not wait for a browser that nobody looks at.
    Raises: Stop.
    """
    try:
        return client, work(client)
    except Refused as refused:
        if refused.sign_in is None or not client.profile.provider or not _somebody_is_there():
            raise
        tell(f"{refused.message}: signing in again")
        client = _again(client, refused)
    # Asked once: what this sign-in does not reach, the next one would not either.
    return client, work(client)


def _again(client: Client, refused: Refused) -> Client:
    from taskgate.api.shapes import Me
    from taskgate.cli.sign_in import by_browser, by_device, by_saml, signed_in_as

    profile = client.profile
    before = client.get("/v1/me", Me)
    nobody = Client(replace(profile, token="", refresh=""))
    found: LoggedIn
    if profile.saml:
        found = by_saml(nobody, profile.provider, wanted=refused.sign_in)
    elif profile.device:
        found = by_device(nobody, profile.provider, wanted=refused.sign_in)
    else:
        found = by_browser(nobody, profile.provider, wanted=refused.sign_in)
    if found.me.key != before.key:
        stop(
            f"that was {found.me.key}, and you are {before.key}",
            Exit.NOT_SIGNED_IN,
            hint="to change who you are: taskgate login",
        )
    kept = signed_in_as(profile, found)
    profiles.save(kept)
    return Client(kept)


def _somebody_is_there() -> bool:
    said = os.environ.get("TASKGATE_STEP_UP", "")
    if said not in ("", "yes", "no"):
        stop(f"TASKGATE_STEP_UP is yes or no, not {said!r}", Exit.USAGE)
    return said == "yes" or (said == "" and sys.stderr.isatty())
