"""Every protocol's verbs, by the name that a resource's `protocol` has."""

from collections.abc import Mapping
from typing import Final

from taskgate.policy.ssh_verbs import SSH
from taskgate.policy.vocabulary import POSTGRES, RuleVocabulary

DEFAULT_VOCABULARIES: Final[Mapping[str, RuleVocabulary]] = {"postgres": POSTGRES, "ssh": SSH}
