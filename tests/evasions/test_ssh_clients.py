"""Ways round rules for rsync and git, each tried by OpenSSH's client at a real host: the user is
refused, and the host's shell is given nothing."""

from collections.abc import Iterator

import pytest

from tests.hosts import Host
from tests.ssh_setting import SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: narrow
resource: target
for: {groups: [testers]}
permit:
  - run: ["rsync --server --sender ** . HOME/app/*", "rsync --server ** . HOME/in/*", "rsync **"]
  - run: ["git-upload-pack HOME/git/*", "git-receive-pack **"]
---
kind: Task
name: denies
resource: target
for: {groups: [testers]}
permit:
  - any: ["*"]
deny:
  - {read: ["HOME/app/secret/**"], reason: nobody reads it}
  - {write: ["HOME/app/kept/**"], reason: kept as it is}
  - {remove: ["HOME/app/log"], reason: never lost}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS.replace("HOME", str(ssh_host.home))) as found:
        yield found


@pytest.fixture(scope="module")
def shared(place: SshSetting) -> Iterator[dict[str, tuple[str, str]]]:
    """One connection for each task."""
    first, second = place.client / "narrow", place.client / "denies"
    with place.master("narrow", first), place.master("denies", second):
        yield {
            "narrow": ("-o", f"ControlPath={first}"),
            "denies": ("-o", f"ControlPath={second}"),
        }


PULL, PUSH = "rsync --server --sender -logDtpre.iLsfxCIvu", "rsync --server -logDtpre.iLsfxCIvu"
NARROW = [
    f"{PULL} . /etc/", f"{PULL} . HOME/app/../in/x", f"{PULL} . HOME/in/x", f"{PUSH} . HOME/app/x",
    f"{PULL} . HOME/app/x /etc", f"{PULL} . /etc . HOME/app/x", f"{PULL} . /etc HOME/app/x",
    f"{PULL} . HOME/app/x --files-from=/etc/passwd", f"{PULL} /etc . HOME/app/x",
    f"{PULL} --files-from=/etc/passwd . HOME/app/x", f"{PULL} --copy-links . HOME/app/x",
    f"{PULL} --log-file=HOME/app/x . HOME/app/x", f"{PULL} --remove-source-files . HOME/app/x",
    f"{PULL} --filter='. /etc/passwd' . HOME/app/x", f"{PULL} -L . HOME/app/x",
    f"{PULL} --copy-unsafe-links . HOME/app/x", f"{PULL} --exclude-from /etc/passwd . HOME/app/x",
    f"{PUSH} --delete . HOME/in/x", f"{PUSH} --delete-excluded . HOME/in/x",
    f"{PUSH} --backup-dir /tmp . HOME/in/x", f"{PUSH} --backup-dir=/tmp . HOME/in/x",
    f"{PUSH} --temp-dir /tmp . HOME/in/x", f"{PUSH} --partial-dir /tmp . HOME/in/x",
    f"{PUSH} --link-dest /etc . HOME/in/x", f"{PUSH} --write-devices . HOME/in/x",
    f"{PUSH} --log-file=HOME/.bashrc . HOME/in/x", f"{PUSH} --rsh='touch x' . HOME/in/x",
    "rsync --server -e 'touch x' . HOME/in/x", "rsync --server -slogDtpre.iLsfxCIvu",
    "rsync --server -Klre.iLs . HOME/in/x", "rsync --server . HOME/in/x --delete",
    "rsync --server --daemon .", "rsync --server --daemon --config=HOME/in/x . HOME/in/x",
    "rsync --daemon --config HOME/in/x", "rsync -e 'touch x' x HOME/in/x", f"{PUSH} . in/x",
    f"{PUSH} . ~/in/x", f"{PUSH} . HOME/in/*", f"{PUSH} . 'HOME/in/x'; id",
    f"sudo {PUSH} . HOME/in/x",
    f"RSYNC_RSH=id {PUSH} . HOME/in/x", f"{PUSH} . HOME/in/x > /tmp/x",
    "git-upload-pack /etc", "git-upload-pack 'HOME/git/../x'", "git-receive-pack --help",
    "git-upload-pack --strict HOME/git/x", "git-upload-archive HOME/git/x", "git-shell -c id",
    "git-upload-pack HOME/git/x; id", 'git-upload-pack "HOME/git/$(id)"',
    "git upload-pack HOME/git/x",
    "git-upload-pack HOME/git/x HOME/git/y", "git -c core.x=y upload-pack HOME/git/x",
    "GIT_TRACE=HOME/in/x git-upload-pack HOME/git/x", "git-upload-pack '~/x'",
]  # fmt: skip


@pytest.mark.parametrize("line", NARROW)
def test_what_a_rule_for_rsync_or_git_hands_over(
    place: SshSetting, shared: dict[str, tuple[str, str]], line: str
) -> None:
    mark = place.host.mark()
    text = line.replace("HOME", str(place.home))
    done = place.ssh("narrow", text, *shared["narrow"], token="-", stdin="")
    assert done.returncode == 126, (done.returncode, done.stdout, done.stderr)
    assert place.host.commands_since(mark) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{PULL} . HOME/app/secret/x", "nobody reads it"),
        (f"{PULL} . HOME/app", "nobody reads it"),
        (f"{PULL} . /", "nobody reads it"),
        (f"{PULL} . app", "nobody reads it"),
        (f"{PULL} . HOME/app/free/../secret", "nobody reads it"),
        (f"{PULL} . /srv HOME/app/secret", "nobody reads it"),
        (f"sudo {PULL} . HOME/app", "nobody reads it"),
        (f"sh -c '{PULL} . HOME/app'", "nobody reads it"),
        (f"if true; then {PULL} . HOME/app; fi", "nobody reads it"),
        (f"/usr/bin/{PULL} . HOME/app/*", "nobody reads it"),
        ("rsync --server --sender -slogDtpre.iLsfxCIvu", "nobody reads it"),
        (f"{PUSH} . HOME/app/kept", "kept as it is"),
        (f"{PUSH} . HOME", "kept as it is"),
        (f"{PUSH} --mkpath . HOME/app/kept/deep/down", "kept as it is"),
        (f"{PULL} --remove-source-files . HOME/app/log", "never lost"),
    ],
)
def test_a_deny_of_files_counts_for_rsync_and_for_all_below(
    place: SshSetting, shared: dict[str, tuple[str, str]], line: str, said: str
) -> None:
    mark = place.host.mark()
    text = line.replace("HOME", str(place.home))
    done = place.ssh("denies", text, *shared["denies"], token="-", stdin="")
    assert done.returncode == 126, (done.returncode, done.stdout, done.stderr)
    assert said in done.stderr
    assert place.host.commands_since(mark) == []
