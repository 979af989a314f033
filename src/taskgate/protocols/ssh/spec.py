"""What the rest of the gate knows of SSH: its name, its port, the words of its rules."""

from typing import Final

from taskgate.policy.ssh_verbs import SSH
from taskgate.protocols.spec import ProtocolSpec

SPEC: Final = ProtocolSpec(
    name=SSH.protocol,
    title="SSH 2",
    default_port=SSH.default_port,
    versions=("2.0",),
    rules=SSH,
)
