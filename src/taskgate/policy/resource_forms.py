"""The form of a resource document, by what the resource speaks."""

from collections.abc import Mapping
from typing import Final

from taskgate.policy.resource_models import ResourceModel
from taskgate.policy.ssh_models import SshResourceModel

RESOURCE_MODELS: Final[Mapping[str, type[ResourceModel] | type[SshResourceModel]]] = {
    "postgres": ResourceModel,
    "ssh": SshResourceModel,
}
