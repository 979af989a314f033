"""What commands read and print, without a gateway."""

import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from taskgate.api.visible import hidden_count, is_hidden, visible
from taskgate.cli import profile as profiles
from taskgate.cli.client import Client, path
from taskgate.cli.exits import Exit, Stop, code_of, code_of_status
from taskgate.cli.main import app
from taskgate.cli.output import one_line, span
from taskgate.cli.profile import Profile
from taskgate.cli.times import day_of, moment_of, seconds_of
from taskgate.model.errors import BadConfig, Conflict, Denied, NotAuthenticated, NotFound
from tests.patience import PATIENCE_S, within

runner = CliRunner()
NOW = datetime.datetime(2026, 3, 12, 15, 30).timestamp()  # a Thursday


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("TASKGATE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TASKGATE_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1x", "1h garbage", "-1h", "0s", "400d", "1h1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Stop) as caught:
        seconds_of(text)
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", (2026, 3, 12, 15, 30)),
        ("2h", (2026, 3, 12, 13, 30)),
        ("today", (2026, 3, 12)),
        ("yesterday", (2026, 3, 11)),
        ("tuesday", (2026, 3, 10)),
        ("Thu", (2026, 3, 12)),
        ("friday", (2026, 3, 6)),
        ("2026-03-01", (2026, 3, 1)),
        ("2026-03-01T09:15", (2026, 3, 1, 9, 15)),
    ],
)
def test_moments(text: str, wanted: tuple[int, ...]) -> None:
    padded = (*wanted, 0, 0)[:5] if len(wanted) < 5 else wanted
    year, month, day, hour, minute = padded
    assert moment_of(text, NOW) == datetime.datetime(year, month, day, hour, minute).timestamp()


@pytest.mark.parametrize(
    ("text", "first", "hours"),
    [
        ("tuesday", (2026, 3, 10), 24),
        ("today", (2026, 3, 12), 24),
        ("2026-03-01T09:15", (2026, 3, 1), 24),
        # By the clock in Berlin: one hour less, and one more.
        ("2026-03-29", (2026, 3, 29), 23),
        ("2025-10-26", (2025, 10, 26), 25),
    ],
)
def test_a_day_is_whole(
    text: str, first: tuple[int, int, int], hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        now = datetime.datetime(2026, 3, 12, 15, 30).timestamp()
        begins = datetime.datetime(*first).timestamp()
        assert day_of(text, now) == (begins, begins + hours * 3600)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "12", "99999-01-01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Stop):
        moment_of(text, NOW)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT 1", "SELECT 1"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb", "a\\x0db"),
        ("a\r\nb", "a\nb"),
        ("a\u202eb", "a\\u{202e}b"),
        ("a\u200bb", "a\\u{200b}b"),
        ("a\u00a0b", "a\\xa0b"),
        ("a\u3164b", "a\\u{3164}b"),
        ("a\U000e0041b", "a\\u{e0041}b"),
        ("a\x00b", "a\\x00b"),
        ("a" + " " * 500 + "b", "a ⟨500 spaces⟩ b"),
        ("a" + "\n" * 500 + "b", "a\n⟨500 line ends⟩\nb"),
        ("Größe 東京 😀", "Größe 東京 😀"),
    ],
)
def test_what_would_deceive_an_eye_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_hidden_is_ever_shown(text: str) -> None:
    assert not any(is_hidden(character) for character in visible(text))
    assert not any(
        is_hidden(character) or character in "\n\t" for character in visible(text, lines=False)
    )
    if hidden_count(text) == 0:
        assert "\\u{" not in visible(text) or "\\u{" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (60, "1m"), (90, "1m30s"), (3600, "1h"), (11100, "3h05m"), (200000, "2d7h")],
)  # fmt: skip
def test_spans(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_a_cut_statement_says_so() -> None:
    assert one_line("SELECT\n  1", 80) == "SELECT 1"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Denied("x"), 4),
        (NotAuthenticated("x"), 3),
        (NotFound("x"), 5),
        (Conflict("x"), 5),
        (BadConfig("x"), 7),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error: Exception, code: int) -> None:
    assert code_of(error) == code  # type: ignore[arg-type]
    assert code_of_status(error.http_status) == code  # type: ignore[attr-defined]


def test_the_profile_is_the_owners_alone(folder: Path) -> None:
    profiles.save(Profile("https://gate", "", "ann", "tgl_secret", 1.0))
    file = folder / "default.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert profiles.load().token == "tgl_secret"
    assert "tgl_secret" not in repr(profiles.load())
    file.chmod(0o644)
    with pytest.raises(Stop, match="can be read by others"):
        profiles.load()


def test_a_profile_that_is_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("{}")
    (folder / "default.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Stop):
        profiles.load()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "x" * 100])
def test_a_profiles_name_is_no_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TASKGATE_PROFILE", name)
    if name:
        with pytest.raises(Stop):
            profiles.profile_name()
    else:
        assert profiles.profile_name() == "default"


def test_a_token_is_never_sent_to_another_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.save(Profile("https://gate.example.com", "/ca.pem", "ann", "tgl_secret", 1.0))
    monkeypatch.setenv("TASKGATE_SERVER", "https://elsewhere.example")
    found = profiles.load()
    assert (found.server, found.token, found.ca_file) == ("https://elsewhere.example", "", "")


def test_passwords_do_not_travel_in_clear(folder: Path) -> None:
    with pytest.raises(Stop, match="in clear"):
        Client(Profile("http://gate.example.com"))
    assert Client(Profile("http://localhost:8080"))
    with pytest.raises(Stop):
        Client(Profile("ftp://gate.example.com"))


@pytest.mark.parametrize("part", ["..", ".", ""])
def test_an_id_cannot_leave_its_place_in_a_path(part: str) -> None:
    with pytest.raises(Stop):
        path("grants", part, "revoke")
    assert path("grants", "a/../b") == "/v1/grants/a%2F..%2Fb"


def test_help_and_version_need_no_gateway(folder: Path) -> None:
    for arguments in (["--help"], ["exec", "--help"], ["audit", "search", "--help"]):
        assert runner.invoke(app, arguments).exit_code == 0
    assert "taskgate 0." in runner.invoke(app, ["--version"]).output


def test_the_command_starts_fast_because_it_imports_little() -> None:
    heavy = "fastapi sqlalchemy rich.console httpx postgast pydantic cryptography uvicorn structlog"
    code = (
        f"import sys, taskgate.cli.main\nprint([m for m in {heavy.split()!r} if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert found.stdout.strip() == "[]"


def test_a_policy_folder_is_checked_without_a_gateway(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Tusk\n")
    command = [sys.executable, "-m", "taskgate.cli.main", "policy", "check", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert found.returncode == Exit.INVALID
    assert "a.yaml:1" in found.stderr
    assert "Traceback" not in found.stderr


def test_without_a_sign_in_commands_say_what_to_do(folder: Path) -> None:
    command = [sys.executable, "-m", "taskgate.cli.main", "tasks"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert found.returncode == Exit.USAGE
    assert "taskgate login --server" in found.stderr


def test_time_is_not_lost_at_start() -> None:
    def started_s() -> float:
        began = time.perf_counter()
        command = [sys.executable, "-m", "taskgate.cli.main", "--version"]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        return time.perf_counter() - began

    # Some 0.2 s on an idle machine; a busy one gets room.
    within(3, started_s)
