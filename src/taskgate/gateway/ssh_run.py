"""What one channel of a session does at the moment."""

import asyncio
from dataclasses import dataclass

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.ssh_files import FilesChannel
from taskgate.gateway.ssh_gated import GatedShell
from taskgate.gateway.ssh_masks import MaskedStream
from taskgate.gateway.ssh_terminal import RecordedStream
from taskgate.protocols.ssh.conversation import ClientChannel
from taskgate.protocols.ssh.refusals import notice


@dataclass(slots=True)
class Run:
    """What one channel does. `started_at` is monotonic, None until the command runs. A line of a
    gated shell stands for a channel `within` another."""

    task: asyncio.Task[None]
    number: int = 0
    started_at: float | None = None
    statement_s: float | None = None
    left_out: tuple[str, ...] = ()
    finished: bool = False
    files: FilesChannel | None = None
    masked: MaskedStream | None = None
    reading_since: float | None = None
    recorded: RecordedStream | None = None
    shell: GatedShell | None = None
    within: ClientChannel | None = None
    held: bool = False

    @property
    def under_way(self) -> bool:
        began = self.started_at is not None or self.reading_since is not None
        return began and not self.held


class Held:
    """A channel that waits for people, as `Holding` sees it."""

    def __init__(self, gate: TaskGate, channel: ClientChannel) -> None:
        self.gate = gate
        self._channel = channel

    def tell(self, message: str, hint: str = "") -> None:
        self._channel.tell(notice(message, hint))
