"""Yes, or no and why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """True where allowed. `reason` says why not, in a sentence for the person who asked."""

    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


ALLOWED = Answer(True)
