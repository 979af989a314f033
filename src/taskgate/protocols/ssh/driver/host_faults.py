"""What went wrong on the way to a host, in the gate's own words: which host, what, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncssh

from taskgate.model.errors import UpstreamFault
from taskgate.model.limits import UPSTREAM_CONNECT_TIMEOUT_S
from taskgate.protocols.ssh.conversation import HostCredential, HostKeyRefused
from taskgate.protocols.ssh.driver.host_keys import Shown


@contextmanager
def faults(
    where: str,
    shown: Shown,
    host_key_algorithms: Sequence[str],
    credential: HostCredential | None = None,
) -> Iterator[None]:
    """Says in the gate's own words what went wrong, and at which host."""
    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise _not_the_one(where, error.reason, shown.key) from None
    except asyncssh.PermissionDenied:
        raise _not_let_in(where, credential or HostCredential("")) from None
    except asyncssh.KeyExchangeFailed as error:
        raise _no_agreement(where, error.reason) from None
    except asyncssh.ChannelOpenError as error:
        raise UpstreamFault(
            f"{where} cannot be reached: {error.reason}",
            hint="check that the host before it permits forwarding (AllowTcpForwarding), and that"
            " it reaches this one",
        ) from None
    except TimeoutError:
        raise UpstreamFault(
            f"{where} did not answer within {UPSTREAM_CONNECT_TIMEOUT_S:g} s",
            hint="check that its address is right and that the gateway may reach it",
        ) from None
    except (asyncssh.ConnectionLost, ConnectionResetError):
        # Also what OpenSSH does where nothing that is asked for is there, often before what it
        # offers has been read here.
        raise UpstreamFault(
            f"{where} closed the connection before the gate was signed in",
            hint="its log may say why; perhaps it has no algorithm that the gate takes, or no host"
            f" key of one of these kinds: {', '.join(host_key_algorithms)}",
        ) from None
    except (asyncssh.Error, OSError) as error:
        raise UpstreamFault(
            f"{where} cannot be reached: {said(error)}",
            hint="check that the host is running, and its address",
        ) from None


def _not_the_one(where: str, reason: str, shown: str) -> HostKeyRefused:
    if not shown:
        # A key or a certificate that is known, and no good: revoked, over, for another host.
        return HostKeyRefused(
            f"{where} showed a host key that does not count: {reason.partition(' for host ')[0]}",
            hint="the gate does not sign in there before the host shows a good one",
        )
    return HostKeyRefused(
        f"{where} showed a host key that is not the one the gate knows: {shown}",
        hint="if the host was set up anew, check its key there and tell the gate: host_keys, or"
        " taskgate host-keys forget",
        shown=shown,
    )


def _no_agreement(where: str, reason: str) -> UpstreamFault:
    """asyncssh says `No matching X algorithm found, sent A and received B`."""
    what, _, lists = reason.partition(" algorithm found, sent ")
    wanted, _, offered = lists.partition(" and received ")
    if not offered:
        return UpstreamFault(f"{where} cannot be reached: {reason}")
    kind = what.removeprefix("No matching ")
    return UpstreamFault(
        f"{where} has no {kind} algorithm that the gate takes; it offers {offered}",
        hint=f"the gate takes {wanted}",
    )


def _not_let_in(where: str, credential: HostCredential) -> UpstreamFault:
    if credential.certificate is None:
        return UpstreamFault(
            f"{where} does not let the gate in as {credential.username}",
            hint="check the resource's credential, and the host's own log",
        )
    return UpstreamFault(
        f"{where} does not let the gate in as {credential.username} by a certificate"
        f" {credential.shown}",
        hint="at the host: TrustedUserCAKeys has the line of `taskgate ssh-ca`, the account's"
        " AuthorizedPrincipalsFile one of the principals, and the clock is right; its log says"
        " which of them it is",
    )


def said(error: Exception) -> str:
    if isinstance(error, asyncssh.Error):
        return error.reason
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections"
    return getattr(error, "strerror", None) or type(error).__name__
