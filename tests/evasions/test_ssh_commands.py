"""Ways round the rules for commands, each tried by OpenSSH's client at a real host: the user is
refused, and the file that the attempt would make is not there."""

from collections.abc import Iterator

import pytest

from tests.hosts import Host
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate, ssh_host

__all__ = ["ssh_host"]

TASKS = """
kind: Task
name: ops
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **", "ls **", "find * **", "cat /etc/hostname", "sort **", "timeout * ls **"]
  - run: ["env * ls **", "nice ls **", "tar **", "git **", "id", "sudo -u nobody id"]
  - run: ["sh /srv/check.sh **", "xargs -n 1 echo", "touch /nowhere/*"]
  - read: ["/etc/hostname"]
  - env: [LANG]
---
kind: Task
name: broad
resource: target
for: {groups: [testers]}
permit:
  - any: ["*"]
deny:
  - {run: ["touch **"], reason: no new files}
  - {write: ["/**"], reason: no new files}
---
kind: Task
name: asks
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **"]
hold:
  - run: ["touch **"]
    for: {groups: [leads], people: 1, within: 1m}
"""


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    with running_ssh_gate(ssh_host, TASKS, people=(LEAD,)) as found:
        yield found


@pytest.fixture(scope="module")
def shared(place: SshSetting) -> Iterator[dict[str, tuple[str, str]]]:
    """One connection for each task, so that an attempt is a channel and not a sign-in."""
    first, second = place.client / "ops", place.client / "broad"
    with place.master("ops", first), place.master("broad", second):
        yield {
            "ops": ("-o", f"ControlPath={first}"),
            "broad": ("-o", f"ControlPath={second}"),
        }


# Each would make the file FILE, were it to run.
DISGUISED = {
    "quotes in a word": 'to""uch FILE',
    "backslash": "t\\ouch FILE",
    "single quotes": "'touch' FILE",
    "ansi quotes": "$'\\x74ouch' FILE",
    "variable as a command": "c=touch; $c FILE",
    "default of a variable": "${x:-touch} FILE",
    "substitution as a command": '"$(echo touch)" FILE',
    "substitution as an argument": 'echo "$(touch FILE)"',
    "bare substitution": "echo $(touch FILE)",
    "backticks": "echo `touch FILE`",
    "process substitution": "cat <(touch FILE)",
    "behind ;": "echo x; touch FILE",
    "behind &&": "echo x && touch FILE",
    "behind ||": "cat /nowhere || touch FILE",
    "behind a line end": "echo x\ntouch FILE",
    "behind a comment": "echo x # y\ntouch FILE",
    "behind a pipe": "echo FILE | xargs touch",
    "in the background": "touch FILE & echo x",
    "in brackets": "(touch FILE)",
    "in braces": "{ touch FILE; }",
    "in a condition": "if touch FILE; then echo x; fi",
    "in a loop": "for i in 1; do touch FILE; done",
    "in a function": "echo() { touch FILE; }; echo x",
    "negated": "! touch FILE",
    "a redirection": "echo x > FILE",
    "an appending redirection": "echo x >> FILE",
    "a clobbering redirection": "echo x >| FILE",
    "both streams": "echo x &> FILE",
    "a redirection before": "> FILE echo x",
    "a bare redirection": "> FILE",
    "a redirection of a group": "{ echo x; } > FILE",
    "a redirection of descriptor 3": "echo x 3> FILE",
    "read and write": "echo x <> FILE",
    "a here-document into a shell": "sh <<E\ntouch FILE\nE",
    "a here-string into a shell": "sh <<< 'touch FILE'",
    "eval": "eval 'touch FILE'",
    "source": ". /dev/stdin <<< 'touch FILE'",
    "exec": "exec touch FILE",
    "command": "command touch FILE",
    "builtin": "builtin eval 'touch FILE'",
    "trap": "trap 'touch FILE' EXIT",
    "alias": "alias ls='touch FILE'; ls",
    "env": "env touch FILE",
    "env with a variable": "env A=b touch FILE",
    "env -S": "env -S 'touch FILE'",
    "env behind a permitted word": "env ls=1 touch FILE",
    "nice": "nice touch FILE",
    "nohup": "nohup touch FILE",
    "timeout": "timeout 5 touch FILE",
    "timeout, words shifted": "timeout -k ls 5 touch FILE",
    "timeout, a signal of the name": "timeout -s 9 5 touch FILE",
    "sudo": "sudo touch FILE",
    "sudo in a permitted form": "sudo -u nobody touch FILE",
    "xargs": "xargs touch",
    "xargs in a permitted form": "echo FILE | xargs -n 1 touch",
    "find -exec": "find /etc -maxdepth 0 -exec touch FILE ;",
    "find -exec, escaped": "find /etc -maxdepth 0 -exec touch FILE \\;",
    "find -fprint": "find /etc -maxdepth 0 -fprint FILE",
    "sort -o": "sort /etc/hostname -o FILE",
    "sort --output": "sort --output=FILE /etc/hostname",
    "sort, a program": "sort --compress-program=touch -S 1 FILE",
    "tar, an action": "tar c /etc/hostname --checkpoint=1 --checkpoint-action=exec=FILE",
    "tar, a program": "tar cf FILE -I touch /etc/hostname",
    "git, a pager": "git -c core.pager='touch FILE' log",
    "git, an alias": "git -c alias.x='!touch FILE' x",
    "git, a transport": "git clone 'ext::touch FILE' /tmp/x",
    "git, a program": "git clone --upload-pack='touch FILE' /etc /tmp/x",
    "sh -c": "sh -c 'touch FILE'",
    "sh -c, letters together": "sh -ec 'touch FILE'",
    "sh with another file": "sh /dev/stdin <<< 'touch FILE'",
    "sh, the permitted file as an argument": "sh -c 'touch FILE' /srv/check.sh",
    "python -c": "python3 -c 'open(\"FILE\", \"w\")'",
    "perl -e": "perl -e 'open F, \">FILE\"'",
    "awk": "awk 'BEGIN { system(\"touch FILE\") }'",
    "awk, a redirection": "awk 'BEGIN { print 1 > \"FILE\" }'",
    "sed": "sed 'w FILE' /etc/hostname",
    "busybox": "busybox touch FILE",
    "encoded": "echo dG91Y2ggRklMRQo= | base64 -d | sh",
    "a variable for the loader": "LD_PRELOAD=FILE ls",
    "PATH": "PATH=/tmp ls; touch FILE",
    "another path to it": "/usr/bin/touch FILE",
    "a relative path to it": "../../usr/bin/touch FILE",
    "a path through ..": "/usr/lib/../bin/touch FILE",
    "dd": "dd if=/etc/hostname of=FILE",
    "tee": "echo x | tee FILE",
    "cp": "cp /etc/hostname FILE",
    "ssh to somewhere": "ssh -o ProxyCommand='touch FILE' x",
    "bash with a variable": "BASH_ENV=FILE bash",
    "coproc": "coproc touch FILE",
    "time": "time touch FILE",
    "a permitted pattern with ..": "touch /nowhere/../FILE",
    "an option before the operand": "touch -- FILE",
}  # fmt: skip


@pytest.mark.parametrize("name", list(DISGUISED))
def test_a_disguised_command_is_refused(
    place: SshSetting, shared: dict[str, tuple[str, str]], name: str
) -> None:
    file = place.home / "made"
    mark = place.host.mark()
    done = place.ssh("ops", DISGUISED[name].replace("FILE", str(file)), *shared["ops"], token="-")
    assert done.returncode == 126, (done.returncode, done.stdout, done.stderr)
    assert "taskgate: " in done.stderr
    assert place.host.commands_since(mark) == []
    assert not file.exists()


BROAD = [
    "touch FILE", "/usr/bin/touch FILE", "to''uch FILE", "sudo touch FILE", "env A=b touch FILE",
    "timeout 5 touch FILE", "sh -c 'touch FILE'", "bash -ec 'echo x; touch FILE'",
    "find /etc -maxdepth 0 -exec touch FILE ;", "echo FILE | xargs touch", "echo x > FILE",
    'echo "$(touch FILE)"', "if true; then touch FILE; fi", "for i in 1; do touch FILE*; done",
    "$x touch FILE", "busybox touch FILE", "nice nohup touch FILE", "x=touch; $x FILE",
]  # fmt: skip


@pytest.mark.parametrize("command", BROAD)
def test_a_deny_counts_in_every_disguise_that_can_be_read(
    place: SshSetting, shared: dict[str, tuple[str, str]], command: str
) -> None:
    file = place.home / "made"
    text = command.replace("FILE", str(file))
    done = place.ssh("broad", text, *shared["broad"], token="-")
    assert done.returncode == 126, (done.returncode, done.stdout, done.stderr)
    assert not file.exists()


def test_no_disguise_escapes_a_hold(place: SshSetting) -> None:
    file = place.home / "made"
    mark = place.host.mark()
    with place.start("asks", f"echo x; to''uch {file}") as running:
        place.waiting("asks")
        running.kill()
    assert place.host.commands_since(mark) == []
    for text in (f"sh -c 'touch {file}'", f"x=touch; $x {file}"):
        assert place.ssh("asks", text).returncode == 126
    assert not file.exists()


def test_unreadable_commands_are_refused(
    place: SshSetting, shared: dict[str, tuple[str, str]]
) -> None:
    for text in ("echo 'x", "echo \x1b[2J", "echo x\r", "echo " + "x" * 70_000, "echo \x01"):
        done = place.ssh("ops", text, *shared["ops"], token="-")
        assert done.returncode == 126, (text[:20], done)
