"""What a command line does, as actions."""

import pytest

from taskgate.model.argv import spell_argv
from taskgate.model.errors import Unreadable
from taskgate.model.names import Guarded
from taskgate.protocols.ssh.commands import MAX_ACTIONS, read_command
from taskgate.protocols.ssh.conversation import Asked, Terminal
from taskgate.protocols.ssh.program_names import CARRIERS, INTERPRETERS, OPTIONS
from taskgate.protocols.ssh.programs import read_program
from taskgate.protocols.ssh.requests import exec_request


def does(text: str) -> list[tuple[str, str, bool]]:
    """Verb, object, and whether it is reached through another."""
    return [(a.verb, a.object, bool(a.via)) for a in read_command(text).actions]


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("a b | c", [("run", "a b", False), ("run", "c", False)]),
        ("/bin/rm x", [("run", "/bin/rm x", False), ("run", "rm x", True)]),
        ("A=b c", [("env", "A", False), ("run", "c", False)]),
        ("a > /x < /y", [("run", "a", False), ("write", "/x", False), ("read", "/y", False)]),
        ("a > /dev/null", [("run", "a", False)]),
        ('a "$(b c)"', [("run", "b c", False), ("run", "a ?", False)]),
        ("(a; { b; })", [("run", "a", False), ("run", "b", False)]),
        ("sudo rm x", [("run", "sudo $'rm' x", False), ("run", "rm x", True)]),
        (
            "sudo -u root /bin/rm x",
            [
                ("run", "sudo $'-u' $'root' $'/bin/rm' x", False),
                ("run", "/bin/rm x", True),
                ("run", "rm x", True),
            ],
        ),
        (
            "sh -c 'rm x | cat'",
            [
                ("run", "$'sh' $'-c' $'rm x | cat'", False),
                ("run", "rm x", True),
                ("run", "cat", True),
            ],
        ),
        (
            "find /a -exec rm {} +",
            [("run", "find /a $'-exec' $'rm' $'{}' $'+'", False), ("run", "rm '{}'", True)],
        ),
        ("rm *.log", [("script", "expansion", False), ("run", "rm ?", True)]),
        ("$x rm", [("script", "expansion", False), ("run", "? rm", True)]),
        ("if a; then rm x; fi", [("script", "control", False), ("run", "a", True),
                                 ("run", "rm x", True)]),
    ],
)  # fmt: skip
def test_actions(text: str, actions: list[tuple[str, str, bool]]) -> None:
    assert does(text) == actions


def guarded(*words: str | None) -> list[str]:
    return [word for word in read_program(words).words if isinstance(word, Guarded)]


@pytest.mark.parametrize("name", sorted(CARRIERS | INTERPRETERS))
def test_code_is_guarded_with_every_such_program(name: str) -> None:
    assert guarded(name, "-c", "code") == [name, "-c", "code"]
    assert guarded(f"/usr/bin/{name}", "-x", "code")


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_are_guarded_where_they_run_programs(name: str) -> None:
    assert guarded(name, "a", "--x=y", "b") == ["--x=y"]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("python3", "/srv/x.py", "-v"), ["-v"]),
        (("python3", "-m", "x"), []),
        (("bash",), []),
        (("timeout", "5", "df", "-h"), ["timeout", "5", "-h"]),
        (("timeout", "-k", "5", "9", "df", "-h"), ["timeout", "-h"]),
        (("timeout", "--what", "df"), []),
        (("env", "A=b", "df", "-h"), ["env", "-h"]),
        (("env", "-S", "rm x"), []),
        (("nohup", "sh", "-c", "x"), ["nohup"]),
        (("nice", "-n", "5", "df"), ["nice"]),
        (("sudo", "-i"), []),
        (("cat", "/srv/a/../b", "..", "a..b", "x/.."), ["cat", "a..b"]),
        (("sudo", "A=b", "df"), []),
        (("sudo", "sudo", "df", "x"), ["sudo", "x"]),
    ],
)
def test_what_a_wildcard_may_still_reach(words: tuple[str, ...], kept: list[str]) -> None:
    read = read_program(words).words
    assert [word for word in read if not isinstance(word, Guarded)] == kept


def test_a_command_that_hangs_on_another_is_a_script() -> None:
    assert does('sudo "$(x)" y')[0] == ("script", "expansion", False)
    assert does('sh -c "$(x)"')[0] == ("script", "expansion", False)


def test_more_than_a_thousand_things_are_too_many() -> None:
    with pytest.raises(Unreadable, match="more than"):
        read_command("; ".join(["a"] * (MAX_ACTIONS + 1)))


def test_an_approval_is_bound_to_all_that_runs() -> None:
    def digest(text: str, resource: str = "web", **more: object) -> str:
        asked = Asked(text, **more)  # type: ignore[arg-type]
        return exec_request(asked, resource, lambda _action: True).request.digest

    same = digest("a b")
    assert digest("a  'b'") == same
    terminal = Terminal("xterm", 80, 24)
    others = [
        digest("a c"), digest("a b", "db"), digest("a b", environment={"A": "1"}),
        digest("a b", environment={"A": "2"}), digest("a b", terminal=terminal), digest("a 'b '"),
    ]  # fmt: skip
    assert len({same, *others}) == 7


def test_a_terminal_is_for_everything_in_the_line() -> None:
    asked = Asked("a | sudo /bin/b; cat x*", terminal=Terminal("xterm", 80, 24))
    actions = exec_request(asked, "web", lambda _action: True).request.actions
    assert [a.object for a in actions if a.verb == "terminal"] == ["sh"]
    asked = Asked("a | sudo /bin/b", terminal=Terminal("xterm", 80, 24))
    actions = exec_request(asked, "web", lambda _action: True).request.actions
    assert [a.object for a in actions if a.verb == "terminal"] == ["a", "sudo"]
    asked = Asked("'a b' c; sh -c d", terminal=Terminal("xterm", 80, 24))
    actions = exec_request(asked, "web", lambda _action: True).request.actions
    assert [a.object for a in actions if a.verb == "terminal"] == ["a b", "sh"]


@pytest.mark.parametrize("name", ["A-B", "", "1A", "É", "A B", "A=B"])
def test_a_variable_that_is_none_is_left_out(name: str) -> None:
    found = exec_request(Asked("a", environment={name: "x"}), "web", lambda _action: True)
    assert (found.environment, found.left_out) == ({}, (name,))


def test_words_spelled_for_records_read_back() -> None:
    assert (
        spell_argv(read_program(("sh", "-c", "a 'b'")).words) == "$'sh' $'-c' $'a '\"'\"'b'\"'\"''"
    )
