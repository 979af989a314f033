"""The API's JSON about signing in at SAML providers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskgate.api.shapes import Asked, Name, Sealed, Shown, SignInWanted


class SamlAsked(Asked):
    """`redirect` is the caller's own `http://127.0.0.1:PORT/callback`, `challenge` the S256 of a
    verifier that it keeps (RFC 7636)."""

    provider: Name
    redirect: Name
    challenge: Name
    fresh: bool = False
    sign_in: SignInWanted | None = None


class SamlBegun(Shown):
    """`state` comes back with the code."""

    url: str
    state: str


class SamlFound(Asked):
    """What the browser came back with, and the verifier."""

    code: Annotated[str, Field(min_length=1, max_length=200)]
    verifier: Annotated[str, Field(min_length=1, max_length=200)]


class SamlLeave(Asked):
    leave: Sealed


class SamlLeft(Shown):
    """Where a browser ends the session at the provider as well; empty where there is none."""

    url: str
