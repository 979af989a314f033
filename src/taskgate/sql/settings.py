"""Settings: which may be set to what, and shown.

Source: PostgreSQL manual, chapter 20; section 4.1 for those that change how SQL text is read.
"""

import re

from taskgate.model.action import Action
from taskgate.model.names import spell
from taskgate.sql.accesses import Findings
from taskgate.sql.known import safe_settings

# What names mean depends on these.
_RESOLVING = frozenset({"search_path", "role", "session_authorization", "temp_tablespaces"})
_ROLES = frozenset({"role", "session_authorization"})
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)*")


def note_set(findings: Findings, name: str, value: str | None, *, told: bool = True) -> None:
    """Notes that a setting is given a value; None for its default. `told` is False where the
    value is not known before the statement runs."""
    folded = name.lower()
    findings.settings.append((folded, value if told else None))
    if folded in _RESOLVING:
        findings.may_change_resolution = True
    if folded in _ROLES:
        target = value if value is not None else ("none" if told else None)
        findings.act(Action("set_role", "?" if target is None else spell(target), "role", True))
        return
    safe = safe_settings().get(folded)
    if safe is None or not safe.may_set:
        findings.act(Action("set", spell_setting(folded), "setting", True))
        return
    if safe.values and not _reads_alike(safe.values, value, told):
        findings.act(Action("set", spell_setting(folded), "setting", True, complete=False))
        findings.unclear.append(
            f"{folded} changes how SQL text is read; here it is always {safe.values[0]}"
        )
        return
    findings.act(Action("set", spell_setting(folded), "safe_setting", False))


def _reads_alike(allowed: tuple[str, ...], value: str | None, told: bool) -> bool:
    if value is None:
        # The default is what the session began with, which the gate has chosen.
        return told
    return "".join(c for c in value.lower() if c.isalnum()) in allowed


def note_show(findings: Findings, name: str) -> None:
    """Notes that a setting's value is shown."""
    folded = name.lower()
    kind = "safe_setting" if folded in safe_settings() else "setting"
    findings.act(Action("show", spell_setting(folded), kind, False))


def spell_setting(name: str) -> str:
    """A setting's name: its dots are part of it, as patterns see it."""
    return name if _PLAIN.fullmatch(name) else spell(name)
