"""What verification can find, and how it is told."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from taskgate.recording.safe_text import safe_line

MAX_FINDINGS = 10_000


class Damage(StrEnum):
    CHANGED = "changed"
    DROPPED = "dropped"
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    MISSING = "missing"
    SWAPPED = "swapped"
    UNLISTED = "unlisted"
    FOREIGN_KEY = "foreign-key"


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage. `file` is below the audit directory; `sequence` the number of the entry, None
    where the whole file is meant (or it cannot be told which entry)."""

    file: str
    sequence: int | None
    damage: Damage
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what is wrong. `open` recordings carry no signature yet but those
    of the marks in the chain; `notes` are no damage, but want to be known."""

    recordings: int
    entries: int
    sealed: int
    open: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    anchor: tuple[int, str] = (0, "")

    @property
    def whole(self) -> bool:
        return not self.findings


def render_report(report: Report) -> str:
    """The report as text for a terminal, one finding a line."""
    lines = [
        f"{report.recordings} recordings ({report.sealed} sealed, {report.open} open), "
        f"{report.entries} entries",
    ]
    lines += [f"note: {safe_line(note)}" for note in report.notes]
    for finding in report.findings:
        place = safe_line(finding.file)
        if finding.sequence is not None:
            place += f" entry {finding.sequence}"
        lines.append(f"{finding.damage.value.upper()}: {place}: {safe_line(finding.detail)}")
    if report.findings:
        lines.append(f"NOT INTACT: {len(report.findings)} findings")
    else:
        number, hash_ = report.anchor
        lines.append(f"intact; the chain of heads ends with entry {number} {hash_}")
    return "\n".join(lines) + "\n"


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Sorted numbers -> runs of consecutive ones, as (first, last)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
