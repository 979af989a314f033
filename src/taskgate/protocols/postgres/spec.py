"""What the rest of the gate knows of PostgreSQL: its name, its port, the words of its rules."""

from typing import Final

from taskgate.policy.vocabulary import POSTGRES
from taskgate.protocols.spec import ProtocolSpec

SPEC: Final = ProtocolSpec(
    name=POSTGRES.protocol,
    title="PostgreSQL 13 to 18",
    default_port=POSTGRES.default_port,
    versions=("3.0", "3.2"),
    rules=POSTGRES,
)
