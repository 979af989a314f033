"""Ways round the rules in a gated shell: the user is refused, and nothing reaches the host."""

import os
from collections.abc import Iterator

import pytest

from taskgate.demo.gate import Person
from taskgate.model.event import EventKind
from tests.hosts import Host
from tests.patience import eventually
from tests.ssh_setting import LEAD, SshSetting, running_ssh_gate, ssh_host
from tests.terminals import GatedShell, gated_shell

__all__ = ["ssh_host"]

# Of this process alone: several may run at once.
BASE = f"/tmp/tg-e-{os.getpid()}"
TASKS = """
kind: Task
name: ops
resource: target
for: {groups: [testers]}
permit:
  - shell: [gated]
  - run: ["echo **", "cat **", "id", "ls **", "cd /tmp/tg-e*", "cd /etc", "printenv *", "tty"]
  - run: ["/tmp/tg-e/good/tool", "top **"]
  - env: ["TG_*"]
  - write: ["/tmp/tg-e/good/**"]
  - read: ["/tmp/tg-e/good/**"]
hold:
  - run: ["echo held *"]
    for: {groups: [leads], people: 1, within: 5m}
deny:
  - {run: ["cat ** /etc/shadow **", "cat ** /etc/passwd **"], reason: nobody reads that}
---
kind: Role
name: admins
for: {groups: [admins]}
may: [administer, author]
---
kind: Task
name: plain
resource: target
for: {groups: [testers]}
permit:
  - run: ["echo **"]
""".replace("/tmp/tg-e", BASE)
ADMIN = Person("admin", "administers", ("admins",))
REFUSED = "no rule of task ops permits it"


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    ssh_host.run(
        f"mkdir -p {BASE}/good {BASE}/evil {BASE}/evil2 && ln -sfn /usr {BASE}/link"
        f" && printf '#!/bin/sh\\necho tool of $PWD\\n' > {BASE}/good/tool"
        f" && cp {BASE}/good/tool {BASE}/evil/tool && chmod 755 {BASE}/*/tool"
    )
    try:
        with running_ssh_gate(ssh_host, TASKS, people=(LEAD, ADMIN)) as found:
            yield found
    finally:
        ssh_host.run(f"rm -rf {BASE}")


@pytest.fixture
def shell(place: SshSetting) -> Iterator[GatedShell]:
    with gated_shell(place, "ops") as found:
        found.ready()
        yield found


def _ran(place: SshSetting, mark: int) -> list[str]:
    """The last line of every command that the host was given: what a person asked for."""
    return [command.splitlines()[-1] for command in place.host.commands_since(mark)]


def test_a_task_without_a_shell_has_none(place: SshSetting) -> None:
    mark = place.host.mark()
    done = place.lines("plain", "echo x\n")
    assert done.returncode == 126
    assert "a shell: nothing permits it" in done.stderr
    assert place.host.commands_since(mark) == []


@pytest.mark.parametrize(
    "keys",
    [
        "echo x\x7f\x7f\x7f\x7f\x7f\x7frm -rf x\r",  # erased
        "rm -rf x #\x01\x05\r",
        "x\x01rm -rf \r",  # put in front
        "echo \x15rm -rf x\r",  # killed
        "echo rm -rf x\x01\x1bd\r",  # a word cut away
        "\x1b[200~rm -rf x\x1b[201~\r",  # pasted
        "echo a\x1b[200~\nrm -rf x\x1b[201~\r",  # a second line pasted behind a good one
        "echo a; rm -rf x\r",
        "echo a\x1b\rrm -rf x\r",
        "\x1b[31mrm -rf x\r",
        "rm\x00 -rf x\r",
    ],
)
def test_what_is_judged_is_the_line_that_is_left(
    place: SshSetting, shell: GatedShell, keys: str
) -> None:
    mark = place.host.mark()
    shell.type(keys)
    shell.wait_for("taskgate:")
    assert not any("rm " in one for one in _ran(place, mark))


def test_two_pasted_lines_run_both_or_neither(place: SshSetting, shell: GatedShell) -> None:
    mark = place.host.mark()
    shell.type("\x1b[200~echo one\necho two\n\x1b[201~")
    shell.wait_for("two")
    assert _ran(place, mark) == []
    assert shell.does("\r") == "one\ntwo\n"
    assert REFUSED in shell.does("\x1b[200~echo three\nrm x\n\x1b[201~\r")
    assert _ran(place, mark) == ["echo one; echo two"]


def _apply(place: SshSetting) -> None:
    done = place.own.command("admin", "policy", "apply")
    assert done.returncode == 0, done.stderr


def test_a_line_from_the_history_is_judged_anew(place: SshSetting, shell: GatedShell) -> None:
    assert shell.says(f"ls {BASE}/good") == "tool\n"
    path = place.own.directory / "policy" / "tasks.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace('"ls **", ', ""))
        _apply(place)
        mark = place.host.mark()
        assert REFUSED in shell.does("\x1b[A\r")
        assert _ran(place, mark) == []
    finally:
        path.write_text(before)
        _apply(place)


def test_the_folder_is_the_one_that_the_host_says(place: SshSetting, shell: GatedShell) -> None:
    for line in (f"cd {BASE}/link", f"cd {BASE}/../../root", "cd /root", "cd ~root", "cd -"):
        said = shell.says(line)
        assert "taskgate:" in said, line
    assert shell.says(f"cd {BASE}/good") == ""
    assert REFUSED in shell.says("cd ../../..")
    shell.shows(f"{BASE}/good>")


def test_a_relative_program_is_the_one_that_lies_there(
    place: SshSetting, shell: GatedShell
) -> None:
    shell.says(f"cd {BASE}/good")
    assert shell.says("./tool") == f"tool of {BASE}/good\n"
    shell.says(f"cd {BASE}/evil")
    for line in ("./tool", "../evil/tool", "../good/../evil/tool", "././tool"):
        assert REFUSED in shell.says(line), line


def test_a_denied_file_is_denied_by_a_relative_name(shell: GatedShell) -> None:
    shell.says("cd /etc")
    for line in ("cat passwd", "cat ./passwd", "cat -n passwd x", "cat shadow", "cat //etc/passwd"):
        assert "nobody reads that" in shell.says(line), line
    assert "taskgate:" in shell.says("cat ../etc/passwd")


def test_a_redirection_is_judged_where_it_stands(place: SshSetting, shell: GatedShell) -> None:
    shell.says(f"cd {BASE}/good")
    assert shell.says("echo a > out") == ""
    assert shell.says("cat < out") == "a\n"
    for line in ("echo a > ../evil/out", f"cat < {BASE}/evil/tool", "cd ../evil; echo a > out"):
        assert "taskgate:" in shell.says(line), line
    shell.says(f"cd {BASE}/evil")
    assert REFUSED in shell.says("echo a > out")
    assert place.host.run(f"ls {BASE}/evil") == "tool\n"


def test_a_folder_that_is_swapped_for_another_runs_nothing(
    place: SshSetting, shell: GatedShell
) -> None:
    shell.says(f"cd {BASE}/evil2")
    place.host.run(f"rmdir {BASE}/evil2 && ln -s /etc {BASE}/evil2")
    try:
        said = shell.says("cat hostname")
        assert said == f"the folder has changed: {BASE}/evil2\n"
        assert shell.says("echo $?") == f"the folder has changed: {BASE}/evil2\n"
    finally:
        place.host.run(f"rm {BASE}/evil2 && mkdir {BASE}/evil2")


@pytest.mark.parametrize(
    "line",
    [
        "export PATH=/tmp/tg-e/evil",
        "export TG_A=1 LD_PRELOAD=/x",
        "export TG_A",
        "PATH=/tmp/tg-e/evil tool",
        "TG_A=1; export PATH",
        "declare -x PATH=/tmp",
        "export -f x",
        "alias ls=rm",
        "unset -f ls; x() { rm y; }",
        "set -o allexport",
        "eval 'rm x'",
        "exec rm x",
        "source /tmp/tg-e/good/tool",
        "sleep 5 &",
        "jobs",
        "fg",
        "command rm x",
        "echo $PATH",
        "echo `rm x`",
        '"$(rm x)"',
    ],
)
def test_what_a_shell_could_do_besides(place: SshSetting, shell: GatedShell, line: str) -> None:
    mark = place.host.mark()
    assert "taskgate:" in shell.says(line.replace("/tmp/tg-e", BASE))
    assert _ran(place, mark) == []
    assert shell.says("printenv PATH") != f"{BASE}/evil\n"


def test_a_value_is_a_value(place: SshSetting, shell: GatedShell) -> None:
    shell.says("""export TG_A='$(id); "`id`" '"'"'"'""")
    assert shell.says("printenv TG_A") == """$(id); "`id`" '"\n"""


def test_a_terminal_only_where_it_is_named(place: SshSetting, shell: GatedShell) -> None:
    assert shell.says("tty") == "not a tty\n"
    assert "tool" not in shell.says("top -n 1")


def test_an_approval_is_for_the_folder_it_was_given_in(
    place: SshSetting, shell: GatedShell
) -> None:
    shell.type("echo held x\r")
    first = place.waiting("ops")
    shell.does("\x03")
    eventually(lambda: not place.is_waiting(first))
    shell.says(f"cd {BASE}/good")
    shell.type("echo held x\r")
    second = place.waiting("ops")
    shell.does("\x03")
    digests = {
        facts["digest"]
        for kind, facts in place.events(place.newest_session("ops"))
        if kind == EventKind.REQUEST_HELD
    }
    assert first != second
    assert len(digests) == 2, place.events(place.newest_session("ops"))


def test_keys_for_a_held_line_do_not_approve_it(place: SshSetting, shell: GatedShell) -> None:
    mark = place.host.mark()
    shell.type("echo held x\r")
    waiting = place.waiting("ops")
    shell.wait_for("Ctrl-C gives it up")
    shell.type("yes\recho after\r")
    assert place.is_waiting(waiting)
    # Quoted, so that it is the answer that is waited for and not the line.
    shell.type("\x03echo w''ell\r")
    shell.wait_for("well\r\n")
    eventually(lambda: not place.is_waiting(waiting))
    assert _ran(place, mark) == ["echo well"]


def test_lines_behind_one_that_cannot_be_read_are_not_run(place: SshSetting) -> None:
    mark = place.host.mark()
    done = place.lines("ops", "echo a\n) (\necho b\n")
    assert (done.stdout, done.returncode) == ("a\n", 126)
    assert "the lines that follow are not read" in done.stderr
    done = place.lines("ops", "echo 'a\necho b\n'\ncat <<E\necho c\nE\necho d\n")
    assert done.stdout == "a\necho b\n\nd\n"
    assert "script" in done.stderr
    assert "echo b" not in _ran(place, mark)


def test_a_revoked_grant_cuts_the_prompt(place: SshSetting) -> None:
    token, grant = place.grant_of("ops")
    with gated_shell(place, "ops", token=token) as shell:
        shell.ready()
        mark = place.host.mark()
        place.own.ask("operator", "POST", f"/v1/grants/{grant}/revoke", {"why": "enough"})
        shell.wait_for("the grant behind this session was revoked: enough")
        assert shell.ended() != 0
        assert _ran(place, mark) == []
    kinds = [kind for kind, _ in place.recorded("ops")]
    assert kinds.count(EventKind.REQUEST_FINISHED) == 1


@pytest.mark.parametrize("term", ["dumb", "unknown", "vt52", "x" * 60])
def test_any_terminal_type(place: SshSetting, term: str) -> None:
    with gated_shell(place, "ops", term=term, columns=3, rows=1) as shell:
        shell.wait_for(">")
        shell.type("echo well\r")
        shell.wait_for("well\r\n")
        shell.type("rm x\r")
        shell.wait_for("taskgate: run rm x")
        shell.type("\x04")
        assert shell.ended() == 126


@pytest.mark.parametrize("term", ["", "../../etc/passwd", "x" * 5000, "xterm\x1b[2J"])
def test_a_terminal_type_that_is_no_plain_name(place: SshSetting, term: str) -> None:
    mark = place.host.mark()
    with gated_shell(place, "ops", term=term) as shell:
        shell.wait_for("PTY allocation request failed")
        # OpenSSH's client gives up where it was told to have a terminal (-tt).
        shell.type("echo unseen\r\x04")
        assert shell.ended() != 0
    assert _ran(place, mark) == []


def test_keys_without_end_stop_nobody_else(place: SshSetting, shell: GatedShell) -> None:
    with gated_shell(place, "ops") as hostile:
        hostile.ready()
        for _ in range(50):
            hostile.type("\x1b[200~" + "rm x\n" * 500)
            hostile.type("\x1b9\x1b9\x19\x0c\t" * 100)
        assert shell.says("echo well") == "well\n"


def test_each_line_is_in_the_recording(place: SshSetting) -> None:
    with gated_shell(place, "ops") as shell:
        shell.ready()
        for line in (f"cd {BASE}/good", "export TG_A=1", "id", "rm x"):
            shell.says(line)
        shell.type("exit\r")
        shell.ended()
    events = place.recorded("ops")
    asked = [f["text"] for kind, f in events if kind.startswith("request.") and "text" in f]
    assert asked == ["shell (gated)", f"cd {BASE}/good", "export TG_A=1", "id", "rm x"]
    finished = [f["request"] for kind, f in events if kind == EventKind.REQUEST_FINISHED]
    assert finished == [2, 3, 4, 1]
    permitted = [f for kind, f in events if kind == EventKind.REQUEST_PERMITTED]
    run = next(facts for facts in permitted if facts["text"] == "id")
    assert [(a["verb"], a["object"]) for a in run["actions"]] == [
        ("run", f"cd {BASE}/good"),
        ("env", "TG_A"),
        ("run", "id"),
    ]
