"""Signing in at a provider: by a browser here, by one elsewhere, or without the person."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskgate.cli import profile as profiles
from taskgate.cli.client import Client, Refused
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import tell
from taskgate.cli.profile import Profile

if TYPE_CHECKING:
    from taskgate.api.shapes import LoggedIn
    from taskgate.cli.browser import Landing, Returned

WAIT_S = 600.0
# Renewed this long before its end, so that a command does not end in the middle.
_EARLY_S = 60.0


def by_browser(
    client: Client,
    provider: str,
    *,
    port: int = 0,
    open_browser: bool = True,
    fresh: bool = False,
    wanted: Mapping[str, Any] | None = None,
) -> LoggedIn:
    """Opens a browser, and waits for it to come back. `wanted` is the API's `SignInWanted`.

    Raises: Stop.
    """
    from taskgate.api.shapes import LoggedIn, OidcBegun
    from taskgate.cli.browser import Landing

    landing = Landing(port)
    try:
        asked = {
            "provider": provider,
            "redirect": landing.redirect,
            "fresh": fresh,
            "sign_in": wanted,
        }
        begun = client.post("/v1/oidc/begin", OidcBegun, asked)
        returned = _browsed(landing, begun.url, begun.state, open_browser=open_browser)
    finally:
        landing.close()
    found = {"flow": begun.flow, "code": returned.code, "state": begun.state, "iss": returned.iss}
    return client.post("/v1/oidc/finish", LoggedIn, found)


def by_saml(
    client: Client,
    provider: str,
    *,
    port: int = 0,
    open_browser: bool = True,
    fresh: bool = False,
    wanted: Mapping[str, Any] | None = None,
) -> LoggedIn:
    """The same at a SAML provider: the browser comes back by way of the gateway. Raises: Stop."""
    from taskgate.api.saml_shapes import SamlBegun
    from taskgate.api.shapes import LoggedIn
    from taskgate.cli.browser import Landing

    verifier = secrets.token_urlsafe(32)
    # RFC 7636 section 4.2.
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    landing = Landing(port)
    try:
        asked = {
            "provider": provider, "redirect": landing.redirect, "challenge": challenge,
            "fresh": fresh, "sign_in": wanted,
        }  # fmt: skip
        begun = client.post("/v1/saml/begin", SamlBegun, asked)
        returned = _browsed(landing, begun.url, begun.state, open_browser=open_browser)
    finally:
        landing.close()
    return client.post("/v1/saml/finish", LoggedIn, {"code": returned.code, "verifier": verifier})


def _browsed(landing: Landing, url: str, state: str, *, open_browser: bool) -> Returned:
    """Shows a browser the way, and waits for it to come back. Raises: Stop."""
    tell(f"sign in with a browser on this machine:\n  {url}")
    if open_browser:
        # Some browsers only return once they are closed; the answer is waited for meanwhile.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    return landing.wait(state, WAIT_S)


def by_device(
    client: Client, provider: str, *, wanted: Mapping[str, Any] | None = None
) -> LoggedIn:
    """Shows a code to type on another device, and waits. Raises: Stop."""
    from taskgate.api.shapes import LoggedIn, OidcDeviceBegun

    begun = client.post(
        "/v1/oidc/device", OidcDeviceBegun, {"provider": provider, "sign_in": wanted}
    )
    tell(f"on any device, open\n  {begun.url}\nand type the code\n  {begun.user_code}")
    if begun.complete_url:
        tell(f"or open\n  {begun.complete_url}")
    deadline = time.monotonic() + begun.lasts_s
    interval_s = begun.interval_s
    while time.monotonic() < deadline:
        time.sleep(interval_s)
        answer = client.post_any("/v1/oidc/device/poll", {"flow": begun.flow})
        if "token" in answer:
            return LoggedIn.model_validate(answer)
        interval_s = float(answer.get("interval_s", interval_s))
    stop("the code was not used in time", Exit.NOT_SIGNED_IN, hint="taskgate login again")


def signed_in_as(profile: Profile, found: LoggedIn) -> Profile:
    """The profile with another sign-in of the same way."""
    return replace(
        profile,
        token=found.token,
        expires_at=found.expires_at,
        refresh=found.refresh,
        leave=found.leave,
    )


def leave(profile: Profile) -> None:
    """Opens a browser where the provider signs its person out. Raises: Stop."""
    from taskgate.api.shapes import OidcLeft

    nobody = Client(Profile(profile.server, profile.ca_file))
    way = "saml" if profile.saml else "oidc"
    url = nobody.post(f"/v1/{way}/logout", OidcLeft, {"leave": profile.leave}).url
    if not url:
        stop(f"{profile.provider} has no place to sign out", Exit.FAILED)
    tell(f"signing out at {profile.provider} with a browser on this machine:\n  {url}")
    webbrowser.open(url)


def renewed(profile: Profile) -> Profile:
    """The profile with a sign-in that still lasts, renewed if need be and possible."""
    if not profile.refresh or not profile.expires_at > 0 or _lasts(profile):
        return profile
    with _alone():
        # Another command may have renewed it while this one waited: a refresh token is good once.
        kept = profiles.load()
        if not kept.refresh or _lasts(kept):
            return kept
        from taskgate.api.shapes import LoggedIn

        client = Client(Profile(kept.server, kept.ca_file))
        try:
            answer = client.post("/v1/oidc/refresh", LoggedIn, {"refresh": kept.refresh})
        except Refused as refused:
            if refused.status not in (401, 404):
                raise
            return kept
        fresh = signed_in_as(kept, answer)
        profiles.save(fresh)
        return fresh


def _lasts(profile: Profile) -> bool:
    return time.time() < profile.expires_at - _EARLY_S


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time renews a profile."""
    folder = profiles.folder()
    path = folder / f".{profiles.profile_name()}.lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        stop(f"cannot write {path}: {error.strerror}")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
