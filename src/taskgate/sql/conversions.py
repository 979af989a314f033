"""Casts between the server's own types that users have put functions behind.

PostgreSQL makes some of them unasked, wherever types differ. Types are not told here, so that such
a function counts as called wherever there may be a value of the type that it converts from.

Source: PostgreSQL manual, "CREATE CAST" and section 10.1; pg_cast.
"""

from collections.abc import Iterator
from dataclasses import replace

from taskgate.sql.accesses import Findings
from taskgate.sql.entries import Conversion
from taskgate.sql.facts import Output
from taskgate.sql.operators import UNLISTED_TYPE, judge_routines
from taskgate.sql.outcome import Outcome
from taskgate.sql.reader import Reader


def converted(reader: Reader, outcome: Outcome) -> Outcome:
    """Notes the functions that may be called so, and that they may have made what is shown."""
    all_findings = list(_beneath(reader.findings))
    if not reader.names.used and not reader.findings.makers:
        # Nothing is named but constants: not even a look-up is needed.
        return outcome
    found = [c.routine for c in reader.names.conversions() if _may_run(all_findings, c)]
    functions = judge_routines(reader, found, unasked=True)
    if not functions:
        return outcome
    reader.findings.compares_functions |= functions
    if outcome.outputs is None:
        return outcome
    return replace(outcome, outputs=tuple(_made_by(o, functions) for o in outcome.outputs))


def _beneath(findings: Findings) -> Iterator[Findings]:
    """These and those of all views that are read."""
    yield findings
    for access in findings.accesses:
        if access.beneath is not None:
            yield from _beneath(access.beneath.findings)


def _may_run(all_findings: list[Findings], cast: Conversion) -> bool:
    """Whether a value may be converted so: there is one of the source type, and, of a cast that is
    only made where it is written, the target is named."""
    made = frozenset[str]().union(*(f.makers for f in all_findings))
    if cast.explicit and made.isdisjoint((cast.target, UNLISTED_TYPE)):
        return False
    if not made.isdisjoint((cast.source, "$", *cast.makers)):
        return True
    for findings in all_findings:
        if any(a.verb == "call" and a.kind != "builtin" for a in findings.actions):
            return True
        for access in findings.accesses:
            if access.relation is None:
                return True
            if any(c.type_oid == cast.source_oid for c in access.relation.columns):
                return True
    return False


def _made_by(output: Output, functions: frozenset[str]) -> Output:
    if output.plain or (output.sources is None and not output.functions):
        return output
    at_least = output.at_least if output.sources is None else output.sources
    return Output(output.name, None, False, output.functions | functions, at_least)
