"""Shell text as the gate reads it, and as it writes it again."""

import contextlib
import subprocess
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskgate.model.errors import Unreadable
from taskgate.model.limits import MAX_COMMAND_BYTES, MAX_COMMAND_DEPTH
from taskgate.protocols.ssh.reading import Dynamic, read_line
from taskgate.protocols.ssh.shell import Line, Pipeline, Simple, Word, quote, write_line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("systemctl restart web-1", "systemctl restart web-1"),
        ("  a   b  ", "a b"),
        ("cu\"\"rl 'a b' x\\ y", "curl 'a b' 'x y'"),
        ("\\ls", "ls"),
        ("b'c'd\"e\"", "bcde"),
        ('echo "a\\"b\\$c\\d"', "echo 'a\"b$c\\d'"),
        ("ls \\\n -l", "ls -l"),
        ("a | b && c; d || e", "a | b && c; d || e"),
        ("a\nb # c\n", "a; b"),
        ("! a || { b; } && (c)", "! a || { b; } && ( c )"),
        ("( (a) )", "( ( a ) )"),
        ("A=b c", "A=b c"),
        ('"A=b" c', "'A=b' c"),
        ("\\if x", "'if' x"),
        ("'{' a", "'{' a"),
        ("echo !x", "echo '!x'"),
        ("a > /x 2>&1 < /y", "a > /x 2>&1 < /y"),
        ("a &> /x", "a > /x 2>&1"),
        ("a >| //x/./y", "a > /x/y"),
        ("a 3<&-", "a 3<&-"),
        ('echo "$(a; b "$(c)")d"', 'echo "$( a; b "$( c )" )d"'),
        ("find . -exec rm {} \\;", "find . -exec rm '{}' ';'"),
        ("echo ''", "echo ''"),
        ("echo é", "echo 'é'"),
    ],
)
def test_what_is_understood_is_written_anew(text: str, written: str) -> None:
    line = read_line(text)
    assert write_line(line) == written
    assert read_line(written) == line


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("echo $x", "expansion"), ("echo ${x}", "expansion"), ('echo "$x"', "expansion"),
        ("echo $((1+1))", "expansion"), ("ls *.log", "expansion"), ("ls a?", "expansion"),
        ("ls [ab]", "expansion"), ("ls ~", "expansion"), ("ls ~root/x", "expansion"),
        ("ls {a,b}", "expansion"), ("ls {1..3}", "expansion"), ("echo `id`", "expansion"),
        ('echo "`id`"', "expansion"), ("echo $(id)", "expansion"), ("echo $'a'", "expansion"),
        ('echo $"a"', "control"), ("x=1", "expansion"), ("$x a", "expansion"),
        ("cat <(id)", "expansion"), ("dd of=~/x", "expansion"), ("a=(1 2) b", "expansion"),
        ("if a; then b; fi", "control"), ("for i in a; do b; done", "control"),
        ("while a; do b; done", "control"), ("case a in b) c;; esac", "control"),
        ("f() { a; }", "control"), ("a &", "control"), ("a |& b", "control"),
        ("[ -f x ]", "control"), ("[[ a == b ]]", "control"), ("((1))", "control"),
        ("export A=b", "control"), ("unset A", "control"),
        ("a << E\nx\nE", "input"), ("a <<'E'\nx\nE", "input"), ("a <<< x", "input"),
        ("a > x", "redirect"), ("a > /x/../y", "redirect"), ("a < ./x", "redirect"),
    ],
)  # fmt: skip
def test_what_only_a_run_can_tell(text: str, tier: str) -> None:
    with pytest.raises(Dynamic) as caught:
        read_line(text)
    assert caught.value.tier == tier


@pytest.mark.parametrize(
    "text",
    ["", " ", "#x", "a 'b", 'a "b', "a;;", "a |", "&& a", "(a", "a\0b", "a\rb", "a\x1bb", "\x7f"],
)
def test_what_is_no_shell_text(text: str) -> None:
    with pytest.raises(Unreadable):
        read_line(text)


@pytest.mark.cap("MAX_COMMAND_BYTES", "MAX_COMMAND_DEPTH")
def test_over_a_cap_nothing_is_read() -> None:
    with pytest.raises(Unreadable, match="longer than"):
        read_line("a" * (MAX_COMMAND_BYTES + 1))
    deep = MAX_COMMAND_DEPTH + 1
    with pytest.raises(Unreadable, match="deeper"):
        read_line("( " * deep + "a" + " )" * deep)
    assert len(read_line(" && ".join(["a"] * 1_000)).items) == 1_000


@pytest.mark.parametrize(
    "text",
    ["(" * 30_000 + "a", "'" * 60_000, '"$(a ' * 10_000, "a && " * 12_000, "<<a " * 10_000,
     "$(" * 20_000, "{a,b}" * 10_000, "\\" * 60_000],
    ids=["brackets", "quotes", "nested", "list", "heredocs", "substitutions", "braces", "slashes"],
)  # fmt: skip
def test_hostile_text_costs_little(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(Dynamic, Unreadable):
        read_line(text)
    assert time.process_time() - began < 5


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_shell_reads_quoted_words_as_they_are(words: list[str]) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", "printf '%s\\0' " + " ".join(map(quote, words))],
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.decode().split("\0")[:-1] == words


@example(["1%"], ";")
@example(["a@b", "c@d"], "&&")
@given(st.lists(WORDS, min_size=1, max_size=3), st.sampled_from([";", "&&", "||"]))
def test_what_was_written_reads_back(words: list[str], joint: str) -> None:
    words = ["".join(c for c in word if c.isprintable()) for word in words]
    simple = Simple(tuple(Word((word,)) for word in words))
    line = Line(((";", Pipeline((simple, simple))), (joint, Pipeline((simple,)))))
    assert read_line(write_line(line)) == line
