"""What every protocol's `spec.py` tells the rest of the gate."""

from dataclasses import dataclass

from taskgate.policy.vocabulary import RuleVocabulary


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """A protocol, for the CLI, the console, the documentation and the check of policies.

    `name` is what a resource's `protocol:` says; `versions` are of the protocol, not of a server.
    """

    name: str
    title: str
    default_port: int
    versions: tuple[str, ...]
    rules: RuleVocabulary
