"""How one provider is set up: what the gateway's configuration says of it, checked."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from taskgate.model.secret import Secret

SecretSource = Callable[[], Awaitable[Secret]]


@dataclass(frozen=True, slots=True)
class GroupMapping:
    """From a claim to the gate's groups.

    `claim` is the path of the claim. With `renamed`, only the groups named there count, under the
    names given; without, all of them do, each behind `prefix`.
    """

    claim: tuple[str, ...] = ("groups",)
    prefix: str = ""
    renamed: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class DirectTokens:
    """Which of the provider's tokens open the gate without a sign-in. `audiences` are those of
    access tokens (JWTs, RFC 9068); none: no access tokens."""

    id_tokens: bool = False
    audiences: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """`name` is the `Identity.issuer` of everybody it vouches for. Times are seconds.

    `secret` is asked for each time; None for a public client (PKCE alone). `parties` are further
    clients of the provider whose tokens may come here (`azp`). `sign_in_s` is how long one
    sign-in lasts, `refresh_s` how long it can be renewed without the person. `prompt` is sent as
    it is: some providers give refresh tokens only after `consent`. `mfa_acr` are the values of
    `acr` that stand for more than one factor, asked for where a task wants that.
    `logout_ends_grants`: whom the provider signs out loses their grants too. `logout_returns`: it
    knows where a browser comes back to after signing out.
    """

    name: str
    issuer: str
    client_id: str
    secret: SecretSource | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ("openid",)
    prompt: str = ""
    subject_claim: str = "sub"
    groups: GroupMapping = GroupMapping()
    direct: DirectTokens = DirectTokens()
    parties: frozenset[str] = frozenset()
    mfa_acr: tuple[str, ...] = ()
    logout_ends_grants: bool = True
    logout_returns: bool = False
    ca_file: Path | None = None
    sign_in_s: float = 3600.0
    refresh_s: float = 12 * 3600.0
