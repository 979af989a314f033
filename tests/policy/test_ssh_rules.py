"""Rules for hosts: commands by word, paths by folder; nothing of a database in them."""

import pytest

from taskgate.model.action import Action
from taskgate.model.argv import spell_argv
from taskgate.model.decision import Outcome
from taskgate.model.names import Guarded
from taskgate.policy.judge import judge
from taskgate.policy.load import load_files
from taskgate.policy.problems import PolicyErrors
from taskgate.policy.rules import Policy

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
RESOURCE = f"""
kind: Resource
name: web
protocol: ssh
address: web.internal
host_keys: {KEY} root@web
credential: {{username: ops, private_key: {{env: KEY}}}}
"""
HEAD = "kind: Task\nname: t\nresource: web\nfor: {groups: [g]}\n"


def policy(body: str, resource: str = RESOURCE) -> Policy:
    return load_files({"r.yaml": resource, "t.yaml": HEAD + body})


def said(body: str, verb: str, target: str, kind: str = "command") -> Outcome:
    action = Action(verb, target, kind, write=True)
    return judge("v", policy(body).tasks["t"], "web", [action]).outcome


def run(body: str, *words: str | None) -> Outcome:
    return said(body, "run", spell_argv(words))


P, D = Outcome.PERMIT, Outcome.DENY


@pytest.mark.parametrize(
    ("pattern", "words", "outcome"),
    [
        ("systemctl restart web-*", ("systemctl", "restart", "web-1"), P),
        ("systemctl restart web-*", ("systemctl", "restart", "web-1", "db-1"), D),
        ("systemctl restart web-*", ("systemctl", "restart", "web-1 db-1"), P),
        ("systemctl restart web-*", ("systemctl", "stop", "web-1"), D),
        ("systemctl restart web-*", ("/bin/systemctl", "restart", "web-1"), D),
        ("journalctl -u web-* **", ("journalctl", "-u", "web-1"), P),
        ("journalctl -u web-* **", ("journalctl", "-u", "web-1", "-n", "5"), P),
        ("journalctl -u web-* **", ("journalctl", "-u", "db-1", "-n", "5"), D),
        ("journalctl -u web-* **", ("journalctl", "-u", "web-1", None), P),
        ("journalctl -u web-* **", ("journalctl", "-u", None), D),
        ("'**'", ("df", "-h"), P),
        ("'**'", (None, "-h"), D),
        ("'**'", ("sh", "-c", Guarded("id")), D),
        ("'sh -c ''id'''", ("sh", "-c", Guarded("id")), P),
        ("'sh -c ''i*'''", ("sh", "-c", Guarded("id")), D),
        ("'sh -c ''i*'''", ("sh", "-c", "i*"), P),
    ],
)  # fmt: skip
def test_commands(pattern: str, words: tuple[str | None, ...], outcome: Outcome) -> None:
    assert run(f"permit:\n  - run: [{pattern}]\n", *words) is outcome


def test_everything_is_everything() -> None:
    body = 'permit:\n  - any: ["*"]\n'
    assert run(body, None, Guarded("x")) is P
    assert said(body, "script", "expansion", "tier") is P


@pytest.mark.parametrize(
    "words",
    [("rm", "-rf", "/"), ("rm",), ("rm", None), (None, "x"), ("rm", Guarded("x"))],
    ids=["plain", "alone", "unresolved word", "unresolved command", "guarded"],
)
def test_a_deny_counts_for_what_might_be_meant(words: tuple[str | None, ...]) -> None:
    body = 'permit:\n  - any: ["*"]\ndeny:\n  - run: ["rm **"]\n'
    assert run(body, *words) is D
    assert run(body, "df") is P


@pytest.mark.parametrize(
    ("pattern", "path", "outcome"),
    [
        ("/srv/app/**", "/srv/app/a/b", P),
        ("/srv/app/**", "/srv/app", P),
        ("/srv/app/**", "/srv/application", D),
        ("/srv/*/log", "/srv/a/log", P),
        ("/srv/*/log", "/srv/a/b/log", D),
        ("'/**/log'", "/a/b/log", P),
        ("'*'", "/etc/shadow", P),
        ("/etc/hosts", "/etc/hosts", P),
        ("/etc/hosts", "/etc/../etc/hosts", D),
        ("'*'", "etc/hosts", D),
    ],
)
def test_paths(pattern: str, path: str, outcome: Outcome) -> None:
    assert said(f"permit:\n  - read: [{pattern}]\n", "read", path, "path") is outcome


@pytest.mark.parametrize(
    ("pattern", "endpoint", "outcome"),
    [
        ("db.internal:5432", "db.internal:5432", P),
        ("DB.Internal:5432", "db.internal:5432", P),
        ("db.internal:5432", "db.internal:5433", D),
        ("'*.internal:443'", "web.internal:443", P),
        ("'*.internal:443'", "internal:443", D),
        ("'10.0.0.*:22'", "10.0.0.5:22", P),
        ("'10.0.0.*:22'", "10.0.0.x.example.com:22", D),
        ("'10*:22'", "10.0.0.5:22", P),
        ("'10*:22'", "10.example.com:22", D),
        ("'*.5:22'", "10.0.0.5:22", P),
        ("'[2001:DB8:0::1]:22'", "[2001:db8::1]:22", P),
        ("'10.0.0.5:*'", "10.0.0.5:22", P),
        ("'*:443'", "10.0.0.5:443", P),
        ("'*:443'", "web.internal:443", P),
        ("'*'", "[2001:db8::1]:22", P),
        # Whoever spells it differently did not make it plain, so nothing permits it.
        ("'*'", "DB.internal:22", D),
        ("'*'", "db.internal.:22", D),
        ("'*'", "10.0.0.05:22", D),
        ("'*'", "10.0.0.5:022", D),
        ("'*'", "[::ffff:10.0.0.5]:22", D),
        ("'*'", ":22", D),
        ("'*'", "db.internal", D),
    ],
)
def test_endpoints(pattern: str, endpoint: str, outcome: Outcome) -> None:
    body = f"permit:\n  - forward: [{pattern}]\n"
    assert said(body, "forward", endpoint, "endpoint") is outcome


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('permit: [{forward: ["db.internal"]}]', "not host:port"),
        ('permit: [{forward: ["db.internal:0"]}]', "not host:port"),
        ('permit: [{forward: ["db.internal:65536"]}]', "not host:port"),
        ('permit: [{forward: ["127.1:22"]}]', "four plain numbers"),
        ('permit: [{forward: ["db.internal.:22"]}]', "without a dot"),
        ('permit: [{forward: ["*.internal.:22"]}]', "no host is named like that"),
        ('permit: [{forward: ["[::ffff:10.0.0.1]:22"]}]', "an IPv4 address inside"),
        ('permit: [{run: ["*"]}]', 'write "**"'),
        ('permit: [{run: ["rm a** b"]}]', "** is a word of its own"),
        ('permit: [{run: ["sh -c \'x"]}]', "quotes that do not add up"),
        ("permit: [{run: [\"ls 'a'*\"]}]", "a star beside them"),
        ('permit: [{run: ["a ** ** b"]}]', "two ** in a row"),
        ('permit: [{run: ["l\u0455 **"], read: ["\u200b"]}]', "paths are absolute"),
        ('permit: [{run: ["ls \u200b"]}]', "invisible character"),
        ('permit: [{read: ["srv"]}]', "paths are absolute"),
        ('permit: [{read: ["/srv/../etc"]}]', ". or .."),
        ('permit: [{read: ["/srv/"]}]', "/srv/**"),
        ('permit: [{any: ["x"]}]', "any stands for every verb"),
        ("permit: [{select: [a.b]}]", "select"),
        ('permit: [{run: ["a b", "a *"]}]', "adds nothing"),
        ('permit: [{run: ["a b"]}]\ndeny: [{run: ["a **"]}]', "never takes effect"),
        ('permit: [{run: ["a b"]}]\nlimits: {rows: 5}', "has no rows"),
        ('permit: [{run: ["a b"]}]\nrecord: {rows: true}', "has no rows"),
        ('permit: [{run: ["a b"]}]\nrecord: {files: true}', "never takes effect"),
        ('permit: [{list: ["/a/**"]}]\nrecord: {files: true}', "never takes effect"),
        ('permit: [{read: ["/a/**"]}]\nrecord: {files: contents}', "files"),
        ('permit: [{run: ["a b"]}]\nmask: [{columns: [a.b.c], as: redact}]', "no columns"),
        ('permit: [{run: ["a b"]}]\nbinary: pass', "binary is about"),
    ],
)
def test_what_cannot_be_meant_is_an_error(body: str, words: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        policy(body + "\n")
    assert words in str(caught.value)


@pytest.mark.parametrize("commands", ['"a **", "a -o b"', '"a -o **", "a -o -p"'])
def test_an_option_that_is_spelled_out_may_add_to_a_wildcard(commands: str) -> None:
    policy(f"permit: [{{run: [{commands}]}}]\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (f"host_keys: {KEY} root@web", "nothing says which host"),
        ("protocol: ssh", "unknown protocol sshx"),
        ("private_key: {env: KEY}", "exactly one of certificate: minted"),
        ("address: web.internal", "tls"),
    ],
)
def test_a_host_says_how_it_is_known(change: str, words: str) -> None:
    other = {
        f"host_keys: {KEY} root@web": "",
        "protocol: ssh": "protocol: sshx",
        "private_key: {env: KEY}": "password: {env: P}, private_key: {env: KEY}",
        "address: web.internal": "address: web.internal\ntls: require",
    }[change]
    with pytest.raises(PolicyErrors) as caught:
        policy('permit: [{run: ["a"]}]\n', RESOURCE.replace(change, other))
    assert words in str(caught.value)


def test_a_host_as_it_is_built() -> None:
    host = policy('permit: [{run: ["a"]}]\n').resources["web"]
    assert (host.protocol, host.host, host.port) == ("ssh", "web.internal", 22)
    assert host.host_trust.keys == (KEY,)
    with pytest.raises(PolicyErrors, match="not a public key"):
        policy('permit: [{run: ["a"]}]\n', RESOURCE.replace(KEY, "ssh-rsa AAAAC3Nza"))


def test_a_task_that_keeps_files_says_so_of_all_that_it_lets_through() -> None:
    body = 'permit: [{read: ["/a/**"]}]\nhold: [{write: ["/a/**"], for: {groups: [g]}}]\n'
    kept = policy(body + "record: {files: true}").tasks["t"]
    plain = policy(body).tasks["t"]
    for verb, target, keeps in (
        ("read", "/a/x", True), ("write", "/a/x", True), ("read", "/b", False),
    ):  # fmt: skip
        actions = [Action(verb, target, "path", write=verb == "write")]
        assert judge("v", kept, "web", actions).keep_files is keeps
        assert not judge("v", plain, "web", actions).keep_files
