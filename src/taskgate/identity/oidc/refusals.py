"""Why a provider's token or sign-in is not taken: one face outside, the reason for the records."""

from typing import Final

from taskgate.model.errors import NotAuthenticated, TaskgateError

_REFUSED: Final = "the identity provider's token or sign-in was not accepted"
_HINT: Final = (
    "it must be unexpired, for this gateway, from a provider or under a trust rule that it knows;"
    " the gateway's records say what was wrong"
)


class TokenRefused(NotAuthenticated):
    """The message is the same whatever was wrong; `why` is for the gateway's own records and
    holds nothing of the token but names and short claims."""

    def __init__(self, why: str) -> None:
        super().__init__(_REFUSED, hint=_HINT)
        self.why = why


class ProviderUnavailable(TaskgateError):
    """The provider is down, slow, or answers nonsense. Nothing is known against the caller."""

    sqlstate = "57P03"
    http_status = 503

    def __init__(self, issuer: str, what: str) -> None:
        super().__init__(
            f"the identity provider {issuer} cannot be used now: {what}",
            hint="try again in a moment; sessions that are open go on",
        )
