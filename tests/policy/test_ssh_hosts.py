"""Documents of hosts: how the gate signs in there, how it knows them, what it refuses to read."""

from itertools import pairwise

import pytest

from taskgate.model import limits
from taskgate.policy.load import load_files
from taskgate.policy.problems import PolicyErrors
from taskgate.policy.rules import CertificateTerms, Policy

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
MINTED = "credential: {username: ops, certificate: minted}"


def host(body: str = MINTED, name: str = "web", keys: str = f"host_keys: {KEY}") -> str:
    return (
        f"kind: Resource\nname: {name}\nprotocol: ssh\naddress: {name}.internal\n{keys}\n{body}\n"
    )


def task(body: str = "", resource: str = "web", permit: str = "run: [id]") -> str:
    head = f"kind: Task\nname: t\nresource: {resource}\nfor: {{groups: [g]}}\n"
    return f"{head}permit:\n  - {permit}\n{body}\n"


def policy(*documents: str) -> Policy:
    return load_files({"p.yaml": "---\n".join(documents)})


def wrong(*documents: str) -> str:
    with pytest.raises(PolicyErrors) as caught:
        policy(*documents)
    return caught.value.message


def test_a_minted_credential_and_what_a_task_says_of_it() -> None:
    said = "certificate: {principals: [web-restart, web-read], force_command: true, lasts: 90s}"
    loaded = policy(host(f"{MINTED[:-1]}, source_addresses: [10.0.0.5, 10.1.0.0/16]}}"), task(said))
    credential = loaded.resources["web"].credential
    assert credential.minted
    assert credential.source_addresses == ("10.0.0.5", "10.1.0.0/16")
    found = loaded.tasks["t"].certificate
    assert found == CertificateTerms(("web-restart", "web-read"), True, 90.0)
    assert policy(host(), task()).tasks["t"].certificate == CertificateTerms()


@pytest.mark.parametrize(
    ("credential", "said"),
    [
        ("{username: ops}", "say exactly one of certificate: minted, private_key and password"),
        ("{username: ops, certificate: minted, password: {env: P}}", "say exactly one of"),
        ("{username: ops, certificate: {file: /x}}", "'minted'"),
        ("{username: ops, certificate: true}", "'minted'"),
        ("{username: ops, password: {env: P}, source_addresses: 10.0.0.5}", "go with certificate"),
        ("{username: ops, certificate: minted, source_addresses: web}", "web is no address"),
        ("{username: ops, certificate: minted, source_addresses: 10.0.0.5/8}", "is no address"),
        ("{username: 'o,ps', certificate: minted}", "is no principal"),
    ],
)
def test_a_credential_that_cannot_be_meant(credential: str, said: str) -> None:
    assert said in wrong(host(f"credential: {credential}"), task())


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        ("{principals: []}", "the list is empty"),
        ("{principals: ['a b']}", "is no principal"),
        ("{principals: ['a,root']}", "is no principal"),
        ('{principals: ["a\\nroot"]}', "is no principal"),
        ("{principal: a}", "unknown key certificate.principal"),
        ("{force_command: systemctl}", "true or false"),
    ],
)
def test_certificates_that_cannot_be_meant(certificate: str, said: str) -> None:
    assert said in wrong(host(), task(f"certificate: {certificate}"))


@pytest.mark.cap("MAX_CERTIFICATE_S", "MAX_PRINCIPALS")
def test_what_a_certificate_may_be_at_most() -> None:
    most = limits.MAX_CERTIFICATE_S
    assert "lasts is at most" in wrong(host(), task(f"certificate: {{lasts: {most + 1:g}s}}"))
    assert policy(host(), task(f"certificate: {{lasts: {most:g}s}}"))
    many = ", ".join(f"p{number}" for number in range(limits.MAX_PRINCIPALS + 1))
    assert "principals" in wrong(host(), task(f"certificate: {{principals: [{many}]}}"))


def test_a_certificate_that_nothing_would_make_is_an_error() -> None:
    plain = host("credential: {username: ops, password: {env: P}}")
    said = wrong(plain, task("certificate: {principals: [a]}"))
    assert "certificate never takes effect" in said
    one = policy(plain, host(name="db"), task("certificate: {principals: [a]}", "web")
                 .replace("resource: web", "resources: [web, db]"))  # fmt: skip
    assert one.tasks["t"].certificate.principals == ("a",)


@pytest.mark.parametrize("shell", ["open", "gated"])
def test_a_shell_cannot_be_forced(shell: str) -> None:
    said = wrong(host(), task("certificate: {force_command: true}", permit=f"shell: [{shell}]"))
    assert "force_command and a shell" in said


def test_ways_to_know_a_host() -> None:
    first = policy(host(keys="host_keys: first-use"), task()).resources["web"].host_trust
    assert first.first_use
    assert first.keys == ()
    both = host(keys=f"host_keys: {KEY}\nknown_hosts_file: /etc/ssh/known\nhost_ca: {KEY}")
    trust = policy(both, task()).resources["web"].host_trust
    assert (trust.keys, trust.authorities) == ((KEY,), (KEY,))
    assert trust.known_hosts_file == "/etc/ssh/known"
    assert not trust.first_use


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "nothing says which host is the right one"),
        ("host_keys: first_use", "not a public key"),
        (f"host_keys: [first-use, '{KEY}']", "not a public key"),
        (f"host_keys: first-use\nhost_ca: {KEY}", "first-use goes alone"),
        ("host_keys: first-use\nknown_hosts_file: /x", "first-use goes alone"),
        ("known_hosts_file: ''", "known_hosts_file"),
    ],
)
def test_a_host_that_is_not_known_well(keys: str, said: str) -> None:
    assert said in wrong(host(keys=keys), task())


def ways(**jumps: list[str]) -> tuple[str, ...]:
    return tuple(
        host(MINTED + (f"\njump: [{', '.join(through)}]" if through else ""), name)
        for name, through in jumps.items()
    )


def test_the_way_to_a_host() -> None:
    documents = ways(web=["b", "c"], b=["a"], a=[], c=[])
    loaded = policy(*documents, task())
    assert [one.name for one in loaded.resources["web"].via] == ["a", "b", "c"]
    assert [one.name for one in loaded.resources["b"].via] == ["a"]
    assert loaded.resources["a"].via == ()


@pytest.mark.parametrize(
    ("jumps", "said"),
    [
        ({"web": ["web"]}, "goes through a host twice"),
        ({"web": ["a"], "a": ["web"]}, "goes through a host twice"),
        ({"web": ["a"], "a": ["b"], "b": ["a"]}, "goes through a host twice"),
        ({"web": ["a", "b"], "a": ["b"], "b": []}, "goes through a host twice"),
        ({"web": ["nowhere"]}, "unknown resource nowhere"),
        ({"web": ["a", "b"], "a": [], "b": ["c"], "c": []}, "b is reached through other hosts"),
        ({"web": ["a", "a"], "a": []}, "listed twice"),
    ],
)
def test_a_way_that_leads_nowhere(jumps: dict[str, list[str]], said: str) -> None:
    assert said in wrong(*ways(**jumps), task())


def test_a_way_through_a_database() -> None:
    database = (
        "kind: Resource\nname: db\nprotocol: postgres\naddress: db:5432\n"
        "credential: {username: u, password: {env: P}}\n"
    )
    assert "db is no host" in wrong(*ways(web=["db"]), database, task())


@pytest.mark.cap("MAX_JUMPS")
def test_the_longest_way() -> None:
    most = limits.MAX_JUMPS
    names = [f"h{number}" for number in range(most + 1)]
    rest: dict[str, list[str]] = {name: [] for name in names}
    assert len(policy(*ways(web=names[:most], **rest), task()).resources["web"].via) == most
    assert "hosts on the way" in wrong(*ways(web=names, **rest), task())
    chain = {name: [behind] for name, behind in pairwise(names)}
    assert "hosts on the way" in wrong(*ways(web=["h0"], **(rest | chain)), task())
