"""Keyboard-interactive: SSH's way to ask a person something (RFC 4256). The first question is for a
token; whoever has none signs in by a browser at the identity provider, and the connection goes on.

The provider's device flow (RFC 8628) tells its person nothing of the connection that waits. So the
address that fills the code in is never shown: whoever opens the page has to type the code, which
they can only have from their own terminal, or from somebody who wants their sign-in.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from taskgate.gateway.outside import Events
from taskgate.gateway.rates import Rates, source_of
from taskgate.identity.oidc.sign_in import DeviceBegun, Pending, SignedIn, SignIns
from taskgate.identity.proof import Proof
from taskgate.identity.ssh_access import Proven
from taskgate.identity.tokens import hash_token
from taskgate.model.authentication import SignInDemand
from taskgate.model.clock import Clock
from taskgate.model.errors import NotAuthenticated, OverLimit, TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.limits import (
    LOGIN_TIMEOUT_S,
    MAX_DEVICE_SIGN_INS,
    MAX_DEVICE_SIGN_INS_PER_SOURCE,
    MAX_DEVICE_SIGN_INS_PER_SOURCE_PER_MIN,
)
from taskgate.protocols.ssh.conversation import Question

# What tools that type passwords look for is in it.
_PROMPT = "Password: "
_MAX_NAME_CHARS = 200


class DeviceSignIns:
    """Sign-ins at providers on behalf of connections that wait; so many at once, and no more."""

    def __init__(self, sign_ins: SignIns, events: Events, clock: Clock) -> None:
        self._sign_ins = sign_ins
        self._events = events
        self._clock = clock
        self._waiting: Counter[str] = Counter()
        self._begun = Rates(MAX_DEVICE_SIGN_INS_PER_SOURCE_PER_MIN)

    @property
    def providers(self) -> tuple[str, ...]:
        return self._sign_ins.names

    @property
    def waiting(self) -> int:
        """How many connections wait for their person."""
        return self._waiting.total()

    def enter(self, peer: str) -> None:
        """Takes a place for one; `leave` gives it back. Raises: OverLimit."""
        source = source_of(peer)
        if (
            self.waiting >= MAX_DEVICE_SIGN_INS
            or self._waiting[source] >= MAX_DEVICE_SIGN_INS_PER_SOURCE
            or self._begun.wait_s(source, self._clock.monotonic()) > 0
        ):
            raise OverLimit(
                "too many sign-ins by a browser are under way already",
                hint="try again in a minute, or use the token of a grant as the password",
            )
        self._waiting[source] += 1

    def leave(self, peer: str) -> None:
        source = source_of(peer)
        self._waiting[source] -= 1
        if self._waiting[source] <= 0:
            del self._waiting[source]

    async def begin(self, provider: str, demand: SignInDemand | None) -> DeviceBegun:
        """Raises: BadConfig where the provider has no device flow, ProviderUnavailable,
        TokenRefused."""
        return await self._sign_ins.begin_device(provider, demand)

    async def finish(self, begun: DeviceBegun, peer: str) -> Proven:
        """Waits for the person. Raises: TokenRefused, ProviderUnavailable, NotRecorded."""
        interval_s = begun.interval_s
        while True:
            await asyncio.sleep(interval_s)
            found = await self._sign_ins.poll_device(begun.flow)
            if not isinstance(found, Pending):
                return await self._proven(found, begun.flow, peer)
            interval_s = found.interval_s

    async def _proven(self, found: SignedIn, flow: str, peer: str) -> Proven:
        facts = {"door": "ssh", "flow": "device", "provider": found.provider, "from": peer}
        await self._events.log(EventKind.LOGIN, found.identity, facts)
        until = self._clock.now() + found.lasts_s
        proof = Proof(found.identity, hash_token(f"ssh-device\0{flow}"), until)
        return Proven(found.identity, proof=proof, facts=(("provider", found.provider),))


class Asking:
    """What one connection is asked. `wait` gives its person so many seconds."""

    def __init__(
        self,
        device: DeviceSignIns,
        peer: str,
        wait: Callable[[float], None],
        demand_of: Callable[[str], SignInDemand | None],
    ) -> None:
        self._device = device
        self._peer = peer
        self._wait = wait
        self._demand_of = demand_of
        self._begun: DeviceBegun | None = None
        self._inside = False

    @property
    def waits(self) -> bool:
        """Whether a code was shown, and its person has not been waited for yet."""
        return self._begun is not None

    def first(self, user: str) -> Question:
        """For a token; and how to do without."""
        self.close()
        lines = [f"taskgate: signing in for {_plain(user)}, from {self._peer}."]
        providers = self._device.providers
        if not providers:
            lines.append("The password is the token of a grant (taskgate request, taskgate token).")
        elif len(providers) == 1:
            lines.append("Type the token of a grant, or press Enter to sign in by a browser.")
        else:
            lines.append(
                "Type the token of a grant, or where to sign in by a browser:"
                f" {', '.join(providers)} (Enter: {providers[0]})."
            )
        return Question("", "\n".join(lines), ((_PROMPT, False),))

    def provider_in(self, answers: Sequence[str]) -> str:
        """The provider that an answer to the first question names; empty where it is a token."""
        providers = self._device.providers
        if len(answers) != 1 or not providers:
            return ""
        answer = answers[0].strip()
        return providers[0] if not answer else (answer if answer in providers else "")

    async def show_code(self, provider: str, user: str) -> Question:
        """Begins a sign-in there. Raises: OverLimit, and as `DeviceSignIns.begin`."""
        self.close()
        self._device.enter(self._peer)
        self._inside = True
        task = user.partition("+")[0]
        begun = await self._device.begin(provider, self._demand_of(task))
        self._begun = begun
        self._wait(begun.lasts_s + begun.interval_s)
        text = (
            f"taskgate: to go on with {_plain(user)}, from {self._peer}: on any device, open\n"
            f"  {begun.url}\nand type the code\n  {begun.user_code}\n"
            "Do so only if you have begun this connection yourself. Waiting ..."
        )
        return Question("", text)

    async def signed_in(self) -> Proven:
        """Waits for the person whose code was shown. Raises: NotAuthenticated and as
        `DeviceSignIns.finish`."""
        begun, self._begun = self._begun, None
        if begun is None:
            raise NotAuthenticated("nobody was asked for that")
        try:
            return await self._device.finish(begun, self._peer)
        except TaskgateError:
            self._wait(LOGIN_TIMEOUT_S)
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Nobody waits any more."""
        self._begun = None
        if self._inside:
            self._inside = False
            self._device.leave(self._peer)


def _plain(user: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in user)[:_MAX_NAME_CHARS]
