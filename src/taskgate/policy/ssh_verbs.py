"""The verbs of SSH's rules."""

from taskgate.policy.vocabulary import NameShape, RuleVocabulary, VerbSpec

_C, _P, _S = NameShape.COMMAND, NameShape.PATH, NameShape.SINGLE

_VERBS = (
    VerbSpec("run", "run a command, by its words (`systemctl restart web-*`, `df **`)", _C),
    VerbSpec(
        "script",
        "run a command line whose commands cannot be told beforehand, as it is: `expansion`"
        " (variables, wildcards, arithmetic), `control` (loops, conditions, functions)",
        _S,
    ),
    VerbSpec(
        "terminal",
        "a terminal for a command (`ssh -t`), by the command's name; what is typed there is not"
        " judged, and pagers and editors start other programs",
        _S,
    ),
    VerbSpec("env", "set an environment variable, by name", _S),
    VerbSpec("read", "read a file", _P),
    VerbSpec("write", "create or change a file", _P),
)

SSH = RuleVocabulary(
    protocol="ssh",
    default_port=22,
    verbs={verb.name: verb for verb in _VERBS},
    groups={},
    group_about={},
    default_schema="",
    system_schemas=frozenset(),
    revealing=frozenset(),
    revealing_schemas=frozenset(),
    kinds=frozenset(),
    max_name_bytes=4096,
    example='run: ["systemctl status web-*"]',
    relational=False,
)
