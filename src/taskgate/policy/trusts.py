"""Trust rules: which CI jobs, services and other workloads may take up which tasks. Pure.

A rule names an issuer, audiences, and conditions on the claims that the issuer signs. It never
names a secret: the workload brings a token of its own platform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import re2

from taskgate.policy.platforms import PLATFORMS

MAX_GLOB_STARS: Final = 4
MAX_VALUE_CHARS: Final = 1_000
ISSUER_PREFIX: Final = "trust/"
# What tells one run from another, kept for the records beside what the rule asks for.
RUN_CLAIMS: Final = (
    "sub", "jti", "iss", "iat", "repository", "ref", "sha", "workflow", "job_workflow_ref",
    "run_id", "run_attempt", "environment", "actor", "event_name", "project_path", "pipeline_id",
    "pipeline_source", "job_id", "user_login", "organization_slug", "pipeline_slug",
    "build_number", "build_branch", "build_commit", "step_key", "azp", "client_id",
)  # fmt: skip

Value = str | int | bool
ClaimPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClaimCondition:
    """The claim at `path` must be one of `values`. A text may hold `*` (any characters but `/`
    and `:`) and `**` (any characters)."""

    path: ClaimPath
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} in [{', '.join(str(value) for value in self.values)}]"

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims meet it. Of a list, one member must; a claim that is not there,
        or of another kind, never does."""
        found = claim_at(claims, self.path)
        listed = found if isinstance(found, list) else [found]
        return any(_equals(wanted, one) for one in listed for wanted in self.values)


@dataclass(frozen=True, slots=True)
class Trust:
    """One rule. `lasts_s` is how long a grant under it lives at most, in seconds."""

    name: str
    description: str
    source: str
    issuer: str
    jwks_uri: str
    ca_file: str
    audiences: frozenset[str]
    conditions: tuple[ClaimCondition, ...]
    tasks: frozenset[str]
    lasts_s: float

    @property
    def identity_issuer(self) -> str:
        """The `Identity.issuer` of those who come under this rule. No provider's name and no
        local user's can be the same: those hold no slash."""
        return ISSUER_PREFIX + self.name

    def unmet(self, claims: Mapping[str, Any]) -> ClaimCondition | None:
        """The first condition that the claims do not meet; None if they meet all."""
        return next((one for one in self.conditions if not one.holds(claims)), None)

    def kept(self, claims: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """The claims that bind and name the run, for the records: path and value as text."""
        paths = dict.fromkeys(
            (*(one.path for one in self.conditions), *((name,) for name in RUN_CLAIMS))
        )
        found = ((".".join(path), claim_at(claims, path)) for path in paths)
        return tuple((name, text) for name, value in found if (text := _shown(value)) is not None)


def claim_at(claims: Mapping[str, Any], path: ClaimPath) -> Any:
    """The claim at a path of keys; None where there is none."""
    found: Any = claims
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def is_pinned(condition: ClaimCondition) -> bool:
    """Whether every value names somebody: no star, or only behind a whole part (`acme/*`)."""
    return all(
        not isinstance(value, str) or "*" not in value or "/" in value.partition("*")[0]
        for value in condition.values
    )


def unpinned(issuer: str, platform: str, conditions: Sequence[ClaimCondition]) -> frozenset[str]:
    """For an issuer that signs for everybody, or a rule that names its platform: the claims of
    which one must be pinned and none is. Empty where all is well."""
    owners = {one.issuer: one.owners for one in PLATFORMS.values() if one.issuer}
    telling = owners.get(issuer.rstrip("/"), frozenset())
    if platform:
        telling = PLATFORMS[platform].owners
    if not telling or any(one.path[0] in telling and is_pinned(one) for one in conditions):
        return frozenset()
    return telling


def check_value(value: Value) -> None:
    """Raises: ValueError for a value that cannot be meant."""
    if not isinstance(value, str):
        return
    if not value or len(value) > MAX_VALUE_CHARS or not value.isprintable():
        raise ValueError("a claim's value is a printable text, not empty")
    if value.strip("*") == "":
        raise ValueError(f"{value} takes every value; leave the claim out or say which")
    if len(value.replace("**", "*").split("*")) > MAX_GLOB_STARS + 1:
        raise ValueError(f"{value}: at most {MAX_GLOB_STARS} stars")
    if "***" in value:
        raise ValueError(f"{value}: write * or **")


def check_address(value: str) -> str:
    """An issuer's or a key set's address: https, or http to this machine itself.

    Raises: ValueError.
    """
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not local:
        raise ValueError(f"{value} must begin with https://")
    if not parts.hostname or parts.username or parts.password or parts.fragment or parts.query:
        raise ValueError(f"{value} is no plain address")
    return value


def _equals(wanted: Value, found: object) -> bool:
    # Platforms write numbers and booleans as JSON's own or as text; both mean the same.
    if isinstance(wanted, bool):
        return found is wanted or found == ("true" if wanted else "false")
    if isinstance(wanted, int):
        plain = isinstance(found, int) and not isinstance(found, bool)
        return found == str(wanted) or (plain and found == wanted)
    if not isinstance(found, str):
        return False
    if "*" not in wanted:
        return found == wanted
    return len(found) <= MAX_VALUE_CHARS and bool(_glob(wanted).fullmatch(found))


@lru_cache(maxsize=1_000)
def _glob(text: str) -> "re2._Regexp":
    """RE2: linear in what an outsider wrote, whatever the pattern."""
    options = re2.Options()
    options.dot_nl = True
    pattern = ".*".join(
        "[^/:]*".join(re2.escape(part) for part in piece.split("*")) for piece in text.split("**")
    )
    return re2.compile(pattern, options)


def _shown(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = ",".join(one for one in value if isinstance(one, str))
    if isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str) or not value:
        return None
    shown = "".join(c if c.isprintable() else "\ufffd" for c in value)
    return shown[:256]
