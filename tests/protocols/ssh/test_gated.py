"""Lines of a gated shell: what the gate does itself, and what a line means where it stands."""

import pytest

from taskgate.model.errors import Denied
from taskgate.protocols.ssh.commands import read_command
from taskgate.protocols.ssh.conversation import Asked
from taskgate.protocols.ssh.gated import (
    Builtin,
    exported,
    is_readable,
    is_unfinished,
    prompt,
    read_builtin,
    read_exports,
    unset,
)
from taskgate.protocols.ssh.place import Place, answered, question
from taskgate.protocols.ssh.requests import exec_request, terminal_actions

HERE = Place("/srv/app", "/home/x", (("A", "b c"),), 3)
LEAD = (
    "cd -P -- /srv/app && test \"$PWD\" = /srv/app || { echo 'the folder has changed:' /srv/app"
    " >&2; exit 126; }\nexport A='b c' || exit 126\n"
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cd /x", ("cd", "/x")),
        ("cd", ("cd",)),
        ("cd 'a b' # there", ("cd", "a b")),
        ("export A=1 B='x  y'", ("export", "A=1", "B=x  y")),
        ("unset A B", ("unset", "A", "B")),
        ("exit 3", ("exit", "3")),
        ("exit $?", ("exit", "3")),
        ("export A=$B", None),
        ('export A="$(id)"', None),
        ("export A=1; rm x", None),
        ("readonly A=1", None),
        ("cd /x && ls", None),
        ("cd /x > /tmp/y", None),
        ("A=1 cd /x", None),
        ("! cd /x", None),
        ("(cd /x)", None),
        ("cd *", None),
        ("ls", None),
        ("cd 'a", None),
    ],
)
def test_what_the_gate_does_itself(line: str, words: tuple[str, ...] | None) -> None:
    found = read_builtin(line, HERE)
    assert (found and found.words) == words


@pytest.mark.parametrize(
    ("line", "sent", "actions"),
    [
        ("ls > out", "ls > /srv/app/out", ["run ls", "write /srv/app/out"]),
        ("cat < ./in", "cat < /srv/app/in", ["run cat", "read /srv/app/in"]),
        ("./x a", "/srv/app/x a", ["run /srv/app/x a", "run x a"]),
        ("sub/x", "/srv/app/sub/x", ["run /srv/app/sub/x", "run x"]),
        ("../x", "/srv/app/../x", ["run $'/srv/app/../x'", "run x"]),
        ("echo $?", "echo 3", ["run echo 3"]),
        ('echo "is $?"', "echo 'is 3'", ["run echo 'is 3'"]),
        ("false; echo $?", "false; echo $?", ["script expansion", "run false", "run echo ?"]),
        ("ls > ../out", "ls > ../out", ["script redirect", "run ls"]),
        ("cd /etc; ./x", "cd /etc; ./x", ["run cd /etc", "run ./x", "run x"]),
        ("cd /etc; ls > x", "cd /etc; ls > x", ["script redirect", "run cd /etc", "run ls"]),
    ],
)
def test_a_line_where_it_stands(line: str, sent: str, actions: list[str]) -> None:
    command = read_command(line, HERE)
    assert command.sent == LEAD + sent
    assert [f"{action.verb} {action.object}" for action in command.actions] == actions


def test_the_folder_and_the_variables_are_judged_with_each_line() -> None:
    asked = exec_request(Asked("id", place=HERE), "web", lambda _: True)
    actions = [f"{action.verb} {action.object}" for action in asked.request.actions]
    assert actions == ["run cd /srv/app", "env A", "run id"]
    home = Place("/home/x", "/home/x")
    asked = exec_request(Asked("id", place=home), "web", lambda _: True)
    assert [action.object for action in asked.request.actions] == ["id"]


@pytest.mark.parametrize(
    ("line", "also"),
    [
        ("cat shadow", ["cat /srv/app/shadow"]),
        ("cat -n ../../etc/shadow", ["cat -n /etc/shadow"]),
        ("cat /etc//shadow", ["cat /etc/shadow"]),
        ("cat //etc/shadow", ["cat /etc/shadow"]),
        ("cat /etc/shadow", []),
        ("id", []),
    ],
)
def test_operands_count_as_whole_paths_too(line: str, also: list[str]) -> None:
    asked = exec_request(Asked(line, place=HERE), "web", lambda _: True)
    assert [action.object for action in asked.also] == also


def test_an_approval_is_for_one_folder_and_its_variables() -> None:
    places = [
        None,
        HERE,
        Place("/srv/app", "/home/x", (("A", "other"),)),
        Place("/srv/app", "/home/x"),
        Place("/srv/other", "/home/x"),
    ]
    requests = [
        exec_request(Asked("id", place=place), "web", lambda _: True).request for place in places
    ]
    assert len({request.digest for request in requests}) == len(places)
    assert len({request.shape for request in requests}) == len(places)


def test_what_needs_a_terminal() -> None:
    found = [action.object for action in terminal_actions("ls | less", HERE)]
    assert found == ["ls", "less"]
    assert [action.object for action in terminal_actions("top $X", HERE)] == ["sh"]
    assert terminal_actions("'", HERE) == ()


def test_exports() -> None:
    assert read_exports(Builtin("", ("export", "A=1", "B=a=b"))) == {"A": "1", "B": "a=b"}
    for words in (("A",), ("-n", "A"), ("1A=x",), ("A=x\ny",), ("A-B=x",), ("Ä=x",)):
        with pytest.raises(Denied):
            read_exports(Builtin("", ("export", *words)))
    assert exported(HERE, {"B": "x"}).variables == (("A", "b c"), ("B", "x"))
    assert unset(HERE, ("A", "C")).variables == ()


@pytest.mark.parametrize("text", ["echo 'a", 'echo "a', "a \\", "a |", "a &&", "a ||", "cat <<E",
                                  "cat <<'E'\nx", "for a in b; do c", "{ a", "if a; then b",
                                  'a "b\\"'])  # fmt: skip
def test_a_line_that_goes_on(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize("text", ["", "a", "echo 'a'", "cat <<E\nx\nE", "a <<< b", "a \\\\",
                                  "{ a; }", "echo '\\'", "a; b", ")"])  # fmt: skip
def test_a_line_that_is_whole(text: str) -> None:
    assert not is_unfinished(text)


def test_text_that_no_shell_reads() -> None:
    assert is_readable("echo $X *")
    assert not is_readable(")")
    assert not is_readable("a\x1bb")


def test_the_hosts_answer() -> None:
    assert (
        question("a b", "/x") == "cd -P -- /x && cd -P -- 'a b' && printf '\\000%s\\000' \"$PWD\""
    )
    assert question("", "") == "cd -P . && printf '\\000%s\\000' \"$PWD\""
    assert answered(b"hello\n\0/srv/app\0") == "/srv/app"
    assert answered(b"\0/not/it\0 more \0/srv\0") == "/srv"
    assert answered(b"nothing") is None
    for wrong in (b"\0srv\0", b"\0/a/../b\0", b"\0/\xff\0"):
        with pytest.raises(ValueError):
            answered(wrong)


def test_the_prompt_is_short_and_plain() -> None:
    assert prompt("ops", "web-1", "/srv/app", 80) == "ops@web-1 /srv/app> "
    assert prompt("ops", "web-1", "/a\x1b[2Jb\u202e", 80) == "ops@web-1 /a?[2Jb?> "
    assert len(prompt("ops", "web-1", "/" + "x" * 500, 80)) < 60
    assert prompt("ops", "web-1", "/srv/app", 12) == "> "
