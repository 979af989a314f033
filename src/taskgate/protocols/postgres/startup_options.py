"""What a client asks for in its startup packet: user, task, database, settings.

Source: PostgreSQL documentation, "Message Formats" (StartupMessage), "Connection Strings"
(options), "Server Configuration", "postgres" (the options -c and --name).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from taskgate.model.errors import Denied, NotAuthenticated, ProtocolViolation, Unreadable

# Parameters that are no settings. A setting of such a name would pass for one of these when the
# gate signs in upstream.
RESERVED: Final = frozenset({"user", "database", "options", "replication"})
PROTOCOL_OPTION_PREFIX: Final = "_pq_."
_SETTING_NAME: Final = re.compile(r"[a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)*")
_TASK_SEPARATOR: Final = "+"
_PROVIDER_SEPARATOR: Final = "@"


class BadOption(Unreadable):
    """A startup option that the gate does not pass on."""

    sqlstate = "22023"


@dataclass(frozen=True, slots=True)
class StartupRequest:
    """A client's whole request for a session, before it is judged.

    `user` is as sent; `task`, `resource` and `provider` are read from it ("task", "task+resource",
    either with "@provider" behind; "" where none is named). With a provider, `password` is a
    bearer token that the client got there. `database` is "" where none is named; a database named
    like the user counts as none, because clients fill it in so. `settings` has `options`
    first, then the packet's own, names in lower case, each once (the last counts), and not
    `application_name`. `minor` is the protocol version 3.minor in use from here on.
    """

    user: str
    task: str
    resource: str
    database: str
    application_name: str
    settings: tuple[tuple[str, str], ...]
    minor: int
    password: str = field(repr=False)
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A startup packet's parameters, sorted. `unknown` are protocol options nobody knows."""

    user: str
    database: str
    application_name: str
    settings: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]

    def request(self, minor: int, password: str) -> StartupRequest:
        """The whole request, once the password has come."""
        named, _, provider = self.user.partition(_PROVIDER_SEPARATOR)
        task, _, resource = named.partition(_TASK_SEPARATOR)
        return StartupRequest(
            self.user,
            task,
            resource,
            "" if self.database == self.user else self.database,
            self.application_name,
            self.settings,
            minor,
            password,
            provider,
        )

    @property
    def provider(self) -> str:
        """The identity provider that the user name names, "" for none."""
        return self.user.partition(_PROVIDER_SEPARATOR)[2]


def sort_parameters(parameters: Iterable[tuple[str, str]]) -> Wanted:
    """Sorts a startup packet's parameters.

    Raises:
        ProtocolViolation: a parameter is given twice.
        NotAuthenticated: no user, or no task or resource in the user name.
        Denied: replication.
        BadOption: `options` holds more than settings, or a setting has an impossible name.
    """
    given: dict[str, str] = {}
    plain: list[tuple[str, str]] = []
    unknown: list[str] = []
    for name, value in parameters:
        # Folded, so that no two spellings of one name stand side by side.
        folded = name.lower()
        if folded in given:
            raise ProtocolViolation(f"startup parameter {name!r} is given twice")
        given[folded] = value
        if folded.startswith(PROTOCOL_OPTION_PREFIX):
            unknown.append(name)
        elif name not in RESERVED and folded != "application_name":
            plain.append((name, value))
    if "replication" in given:
        raise Denied(
            "replication connections do not pass this gateway",
            hint="Connect without the replication parameter.",
        )
    user = given.get("user", "")
    named, at, provider = user.partition(_PROVIDER_SEPARATOR)
    task, separator, resource = named.partition(_TASK_SEPARATOR)
    if not task or (separator and not resource) or (at and not provider):
        raise NotAuthenticated(
            "the user name names no task",
            hint="Connect with user=TASK, or user=TASK+RESOURCE where a task has several.",
        )
    settings: dict[str, str] = {}
    for name, value in [*parse_options(given.get("options", "")), *plain]:
        folded = setting_name(name)
        settings.pop(folded, None)
        settings[folded] = value
    application_name = given.get("application_name", settings.get("application_name", ""))
    settings.pop("application_name", None)
    return Wanted(
        user,
        given.get("database", ""),
        application_name,
        tuple(settings.items()),
        tuple(unknown),
    )


def setting_name(name: str) -> str:
    """A setting's name in lower case.

    Raises:
        BadOption: no setting can have it, or it is one of `RESERVED`.
    """
    folded = name.lower()
    if (
        folded in RESERVED
        or folded.startswith(PROTOCOL_OPTION_PREFIX)
        or not _SETTING_NAME.fullmatch(folded)
    ):
        raise BadOption(f"startup setting {name!r} is not passed on by this gateway")
    return folded


def split_options(text: str) -> list[str]:
    """Words of `options`: white space parts them, a backslash keeps the next character as it is."""
    words: list[str] = []
    word: list[str] = []
    inside = False
    escaped = False
    for char in text:
        if escaped:
            word.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
            inside = True
        elif char in " \t\n\r\v\f":
            if inside:
                words.append("".join(word))
                word = []
                inside = False
        else:
            word.append(char)
            inside = True
    if inside:
        words.append("".join(word))
    return words


def parse_options(text: str) -> list[tuple[str, str]]:
    """Settings in `options`: `-c name=value`, `-cname=value`, `--name=value`. In a name a dash
    stands for an underscore.

    Raises:
        BadOption: any other option.
    """
    settings: list[tuple[str, str]] = []
    words = iter(split_options(text))
    for word in words:
        if word == "-c":
            assignment = next(words, "")
        elif word.startswith(("-c", "--")):
            assignment = word[2:]
        else:
            raise BadOption(
                f"startup option {word!r} is not passed on by this gateway",
                hint="Give settings as -c name=value.",
            )
        name, equals, value = assignment.partition("=")
        if not equals:
            raise BadOption(f"startup option {assignment!r} has no value")
        settings.append((name.replace("-", "_"), value))
    return settings
