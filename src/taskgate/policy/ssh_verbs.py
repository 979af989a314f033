"""The verbs of SSH's rules."""

from taskgate.policy.vocabulary import NameShape, RuleVocabulary, VerbSpec

_C, _E, _P, _S = NameShape.COMMAND, NameShape.ENDPOINT, NameShape.PATH, NameShape.SINGLE

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
    VerbSpec(
        "shell",
        "a shell: `gated`, where the gate itself reads each line and judges it before it runs, or"
        " `open`, a terminal at the host that is recorded but not judged",
        _S,
    ),
    VerbSpec("env", "set an environment variable, by name", _S),
    VerbSpec("read", "read a file (SFTP, scp, `<`)", _P),
    VerbSpec("write", "create or change a file or make a folder (SFTP, scp, `>`)", _P),
    VerbSpec("list", "see a folder's names, and what a path is (SFTP)", _P),
    VerbSpec("remove", "remove a file or a folder; a deny or hold of write counts too", _P,
             also=("write",)),
    VerbSpec("rename", "rename, judged at both ends and for all below; a deny or hold of remove or"
             " write counts too", _P, also=("remove", "write")),
    VerbSpec("link", "make a link, judged at both ends; a deny or hold of read or write counts too",
             _P, also=("read", "write")),
    VerbSpec("attributes", "set a mode, an owner or times; a deny or hold of write counts too", _P,
             also=("write",)),
    VerbSpec("forward", "a connection that the host makes for the client (`ssh -L`, `-D`, `-W`,"
             " `-J`), each judged by the host and port that the client names; names are looked up"
             " by the host", _E),
    VerbSpec("listen", "listen at the host for the client (`ssh -R`), by the address and port"
             " there; `0.0.0.0` is every address, port `*` also one that the host picks", _E),
    VerbSpec("socket", "a connection to a Unix socket at the host (`ssh -L PORT:/path`), by its"
             " path as written; links at the host are not followed up", _P),
    VerbSpec("agent", "lend the client's key agent to the host (`ssh -A`), by the resource's name:"
             " whoever is root there can use its keys meanwhile", _S),
    VerbSpec("x11", "show windows of the host's programs (`ssh -X`), by the resource's name: they"
             " may read the client's screen and keys", _S),
)  # fmt: skip

SSH = RuleVocabulary(
    protocol="ssh",
    default_port=22,
    verbs={verb.name: verb for verb in _VERBS},
    groups={
        "see": ("read", "list"),
        "change": ("write", "remove", "rename", "attributes"),
    },
    group_about={"see": "read and list", "change": "write, remove, rename and attributes"},
    default_schema="",
    system_schemas=frozenset(),
    revealing=frozenset(),
    revealing_schemas=frozenset(),
    kinds=frozenset(),
    max_name_bytes=4096,
    example='run: ["systemctl status web-*"]',
    relational=False,
)
