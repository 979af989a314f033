"""What a certificate says that the gate signs for itself, to sign in with at a host
(PROTOCOL.certkeys of OpenSSH)."""

from dataclasses import dataclass

from taskgate.model.limits import MAX_KEY_ID_BYTES

# A host's clock may be so far behind the gate's.
CLOCK_SKEW_S = 60.0


@dataclass(frozen=True, slots=True)
class CertificateFields:
    """Times are seconds since the epoch. `key_id` is what the host's log shows of it. Without
    `source_addresses` it is good from anywhere, without `force_command` for any command. What is
    not named here (the account's own rc file) it never permits."""

    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    force_command: str | None = None
    source_addresses: tuple[str, ...] = ()
    permit_pty: bool = False
    permit_port_forwarding: bool = False
    permit_agent_forwarding: bool = False
    permit_x11_forwarding: bool = False

    @property
    def permits(self) -> list[str]:
        """For records, in the words of the certificate."""
        told = {
            "permit-X11-forwarding": self.permit_x11_forwarding,
            "permit-agent-forwarding": self.permit_agent_forwarding,
            "permit-port-forwarding": self.permit_port_forwarding,
            "permit-pty": self.permit_pty,
        }
        return [name for name, permitted in told.items() if permitted]


def key_id(person: str, task: str, session: str) -> str:
    """Who it is, for which task, in which session: one line of printable ASCII, as logs take it.
    A person's name is cut, never the session's."""
    plain = "".join(c if "!" <= c <= "~" else f"%{ord(c):x}" for c in person)
    behind = f" task={task} session={session}"
    return plain[: MAX_KEY_ID_BYTES - len(behind)] + behind
