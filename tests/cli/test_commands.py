"""The commands against a running gateway, each in a process of its own."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from taskgate.cli.exits import Exit
from tests.api.gate import password_of
from tests.cli.conftest import Shell
from tests.patience import PATIENCE_S, eventually

PRINT_ENV = ["sh", "-c", "env | grep ^PG | sort"]


def grants(shell: Shell, who: str = "ann") -> list[dict[str, object]]:
    found = json.loads(shell.ok(who, "grants", "--ended", "--json"))
    assert isinstance(found, list)
    return found


def test_signing_in_by_fingerprint_pins_the_gateways_authority(shell: Shell) -> None:
    pin = shell.ok("", "ca", "--fingerprint", "--config", str(shell.gate.config)).strip()
    found = shell.run(
        "pinned", "login", "bob", "--server", shell.gate.url, "--ca", pin, "--password-stdin",
        stdin=password_of("bob") + "\n",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "bob" in shell.ok("pinned", "whoami")
    wrong = shell.run(
        "wrong", "login", "bob", "--server", shell.gate.url, "--ca", "sha256:" + "0" * 64,
        "--password-stdin", stdin=password_of("bob") + "\n",
    )  # fmt: skip
    assert wrong.returncode == Exit.UNREACHABLE
    assert "another CA" in wrong.stderr
    assert not (shell.home / "wrong.json").exists()


def test_an_unknown_certificate_gets_no_password(shell: Shell) -> None:
    found = shell.run(
        "stranger", "login", "ann", "--server", shell.gate.url, "--password-stdin",
        stdin=password_of("ann") + "\n",
    )  # fmt: skip
    assert found.returncode == Exit.UNREACHABLE
    assert "not trusted" in found.stderr


def test_a_wrong_password_is_exit_code_3_and_changes_nothing(shell: Shell) -> None:
    found = shell.run(
        "lou", "login", "lou", "--server", shell.gate.url, "--ca", str(shell.gate.ca),
        "--password-stdin", stdin="wrong\n",
    )  # fmt: skip
    assert found.returncode == Exit.NOT_SIGNED_IN
    assert not (shell.home / "lou.json").exists()


def test_who_and_what_one_may_do(shell: Shell) -> None:
    assert "analysts" in shell.ok("ann", "whoami")
    assert json.loads(shell.ok("aud", "whoami", "--json"))["rights"] == ["audit"]
    assert "sales-report" in shell.ok("ann", "tasks")
    assert "lead-work" not in shell.ok("ann", "tasks")


def test_a_grant_from_request_to_revocation(shell: Shell) -> None:
    asked = shell.run("ann", "request", "sales-report", "--reason", "a test", "--for", "30m")
    grant = re.search(r"grant (g-\w+)", asked.stdout)
    assert grant, asked.stderr
    assert "tg_" not in asked.stdout + asked.stderr, "the token is not printed unasked"
    token = shell.ok("ann", "token", grant[1]).strip()
    assert re.fullmatch(r"tg_\w{49}", token)
    assert grant[1] in shell.ok("ann", "grants")
    shell.ok("ann", "revoke", grant[1], "--why", "done")
    again = shell.run("ann", "token", grant[1])
    assert again.returncode == Exit.NOT_FOUND
    ended = next(one for one in grants(shell) if one["id"] == grant[1])
    assert (ended["live"], ended["revoked_why"]) == (False, "done")


def test_a_refusal_names_the_rule_and_what_to_do(shell: Shell) -> None:
    found = shell.run("ann", "request", "sales-report", "--reason", "x", "--for", "9h")
    assert found.returncode == Exit.REFUSED
    assert "rule: sales-report/lasts" in found.stderr
    assert "next: " in found.stderr
    found = shell.run("ann", "grants", "--all")
    assert found.returncode == Exit.REFUSED
    assert "rule: roles" in found.stderr


def test_exec_sets_what_clients_read_and_ends_the_grant(shell: Shell) -> None:
    shown = shell.run("ann", "exec", "sales-report", "--", *PRINT_ENV,
                      more={"PGHOSTADDR": "10.0.0.1", "PGSERVICE": "x", "PGPASSFILE": "/x",
                            "PGSSLMODE": "disable", "PGREQUIREAUTH": "none"})  # fmt: skip
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert found.pop("PGPASSWORD").startswith("tg_")
    trusted = Path(found.pop("PGSSLROOTCERT"))
    assert "BEGIN CERTIFICATE" in trusted.read_text()
    assert found.pop("PGPORT").isdigit()
    assert found == {
        "PGDATABASE": "shop", "PGGSSENCMODE": "disable", "PGHOST": "localhost",
        "PGSSLMODE": "verify-full", "PGUSER": "sales-report",
    }  # fmt: skip
    newest = grants(shell)[0]
    assert (newest["reason"], newest["live"]) == ("taskgate exec sh", False)


def test_exec_says_which_resource_where_there_are_several(shell: Shell) -> None:
    found = shell.run("ann", "exec", "both-shops", "--", "true")
    assert found.returncode == Exit.USAGE
    assert "shop, shop-eu" in found.stderr
    assert not any(one["live"] and one["task"] == "both-shops" for one in grants(shell))
    shown = shell.ok("ann", "exec", "both-shops", "--resource", "shop-eu", "--", *PRINT_ENV)
    assert "PGUSER=both-shops\n" in shown or "PGUSER=both-shops+shop-eu\n" in shown


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM),
        (["no-such-command-here"], Exit.COMMAND_NOT_FOUND),
    ],
)
def test_exec_ends_with_the_commands_status(shell: Shell, command: list[str], status: int) -> None:
    assert shell.run("ann", "exec", "sales-report", "--", *command).returncode == status
    assert not any(one["live"] and one["task"] == "sales-report" for one in grants(shell))


def test_exec_does_not_run_what_was_refused(shell: Shell, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    found = shell.run("ann", "exec", "lead-work", "--", "touch", str(mark))
    assert found.returncode == Exit.REFUSED
    assert not mark.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_exec_passes_signals_on_and_still_ends_the_grant(
    shell: Shell, tmp_path: Path, number: int
) -> None:
    ready, told = tmp_path / "ready", tmp_path / "told"
    name = signal.Signals(number).name.removeprefix("SIG")
    script = f"trap 'touch {told}; exit 9' {name}; touch {ready}; while :; do sleep 0.1; done"
    with subprocess.Popen(
        # Whoever runs the tests in the background ignores SIGINT, and programs inherit that.
        ["env", "--default-signal=INT",
         *shell.command("exec", "sales-report", "--", "sh", "-c", script)],
        env=shell.environment("ann"), start_new_session=True, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            eventually(ready.exists)
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == 9
        finally:
            process.kill()
    assert told.exists()
    assert not grants(shell)[0]["live"]


def test_the_api_token_is_not_given_to_the_command(shell: Shell) -> None:
    token = json.loads((shell.home / "ann.json").read_text())["token"]
    found = shell.run("ann", "exec", "sales-report", "--", "env", more={"TASKGATE_TOKEN": token})
    assert found.returncode == 0
    assert token not in found.stdout


def test_env_is_shell_code_that_works(shell: Shell) -> None:
    shown = shell.ok("ann", "env", "sales-report", "--reason", "a shell")
    script = shown + 'printf "%s %s" "$PGUSER" "$PGSSLMODE"'
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "sales-report verify-full"
    grant = re.search(r"taskgate revoke (g-\w+)", shown)
    assert grant
    shell.ok("ann", "revoke", grant[1])


async def test_approvals_are_shown_whole_and_safe_and_decided(shell: Shell) -> None:
    text = "UPDATE shop.orders SET note = 'x\x1b[2J\u202e'\n -- rest"
    held = await shell.gate.held(shell.gate.grant("ann"), text)
    assert held in shell.ok("lea", "approvals")
    shown = shell.ok("lea", "approvals", held)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "x\\x1b[2J\\u{202e}'" in shown
    assert "WARNING" in shown
    assert "$1 = '1'" in shown
    assert "$2 = NULL" in shown
    found = shell.run("lea", "approve", held, "--shape", "--for", "10m", "--uses", "3")
    assert found.returncode == 0, found.stderr
    assert shell.run("lea", "approve", held).returncode == Exit.NOT_FOUND
    other = await shell.gate.held(shell.gate.grant("ann"))
    assert shell.run("ann", "approve", other).returncode == Exit.REFUSED
    assert shell.run("lea", "deny", other, "--reason", "no").returncode == 0


def test_watching_shows_each_new_one(shell: Shell) -> None:
    import asyncio

    with subprocess.Popen(
        shell.command("approvals", "--watch", "--json"), env=shell.environment("lea"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            # The first may have been asked before the watch had begun; the second is not.
            for _ in range(2):
                held = asyncio.run(shell.gate.held(shell.gate.grant("ann")))
                assert any(json.loads(line)["id"] == held for line in process.stdout)
        finally:
            process.terminate()


def test_the_audit_is_searched_and_verified(shell: Shell, tmp_path: Path) -> None:
    shell.gate.grant("ann")
    found = json.loads(
        shell.ok("aud", "audit", "search", "--who", "ann", "--since", "1h", "--json")
    )
    assert any(entry["event"] == "grant.issued" for entry in found["entries"])
    assert "intact" in shell.ok("aud", "audit", "verify")
    assert shell.run("ann", "audit", "search").returncode == Exit.REFUSED
    recordings = shell.gate.folder / "state" / "recordings"
    key = shell.gate.folder / "state" / "recording.key.pub"
    assert "intact" in shell.ok("", "audit", "verify", str(recordings), "--key", str(key))
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(recordings), str(copy)], check=True)
    file = next((copy / "open").glob("*.tgr"))
    file.write_bytes(file.read_bytes().replace(b"local:ann", b"local:bob", 1))
    broken = shell.run("", "audit", "verify", str(copy), "--key", str(key))
    assert broken.returncode == Exit.TAMPERED
    assert "CHANGED" in broken.stdout


def test_replay_needs_its_own_right_and_shows_the_gateways_log(shell: Shell) -> None:
    def logs() -> list[str]:
        found = (shell.gate.folder / "state/recordings").rglob("gateway-*.tgr*")
        return sorted(path.name.partition(".")[0] for path in found)

    # Each day has its own: the first one has the start, the last one what was done here.
    name = logs()[0]
    shown = shell.ok("rep", "replay", name, "--at-once")
    assert "gateway.started" in shown
    assert shell.run("aud", "replay", name).returncode == Exit.REFUSED
    lines = shell.ok("rep", "replay", name, "--json").splitlines()
    assert [json.loads(line)["sequence"] for line in lines[:3]] == [1, 2, 3]
    last = shell.ok("rep", "replay", logs()[-1], "--json").splitlines()
    assert any(json.loads(line)["kind"] == "recording.read" for line in last)


def test_users_and_secrets_are_kept_without_showing_any(shell: Shell) -> None:
    new = "a-fresh-password"
    added = shell.run("adm", "user", "add", "zoe", "--group", "analysts", "--password-stdin",
                      stdin=new + "\n")  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert new not in added.stdout + added.stderr
    assert "zoe" in shell.ok("adm", "user", "list")
    assert shell.run("ann", "user", "list").returncode == Exit.REFUSED
    shell.ok("adm", "user", "groups", "zoe", "leads")
    shell.ok("adm", "user", "disable", "zoe")
    assert "disabled" in shell.ok("adm", "user", "list")
    found = shell.run("adm", "secret", "set", "db/password", stdin="hunter2-value")
    assert found.returncode == 0, found.stderr
    listed = shell.ok("adm", "secret", "list")
    assert "db/password" in listed
    assert "hunter2-value" not in listed + found.stdout + found.stderr
    shell.ok("adm", "secret", "remove", "db/password")


def test_users_are_bootstrapped_on_the_host(shell: Shell) -> None:
    config = str(shell.gate.config)
    shell.ok("", "user", "add", "first", "--config", config, "--password-stdin",
             stdin="a-first-password\n")  # fmt: skip
    assert "first" in shell.ok("", "user", "list", "--config", config)
    again = shell.run("", "user", "add", "first", "--config", config, "--password-stdin",
                      stdin="a-first-password\n")  # fmt: skip
    assert again.returncode == Exit.NOT_FOUND
    short = shell.run("", "user", "add", "second", "--config", config, "--password-stdin",
                      stdin="short\n")  # fmt: skip
    assert short.returncode == Exit.INVALID


def test_explaining_from_files_alone(shell: Shell) -> None:
    folder = str(shell.gate.folder / "policy")
    for statement, outcome in (
        ("SELECT id FROM shop.orders WHERE id = 1", "PERMIT"),
        ("UPDATE shop.orders SET note = 'x'", "HOLD"),
        ("DELETE FROM shop.orders", "DENY"),
    ):
        shown = shell.ok(
            "", "policy", "explain", "--dir", folder, "--task", "sales-report", statement
        )
        assert shown.startswith(outcome), statement
        assert "sales-report/permit[0]" in shown
    found = shell.run("", "policy", "explain", "--dir", folder, "--task", "sales-report",
                      "SELECT 1 FROM orders")  # fmt: skip
    assert found.returncode != 0
    assert "write it whole" in found.stderr
    found = shell.run("", "policy", "explain", "--dir", folder, "--task", "sales-report", "SELEC")
    assert found.returncode != 0
    assert "Traceback" not in found.stderr


def test_signing_out_forgets_the_token_here_and_there(shell: Shell) -> None:
    shell.sign_in("rev")
    file = shell.home / "rev.json"
    token = json.loads(file.read_text())["token"]
    shell.ok("rev", "logout")
    assert token not in file.read_text()
    with shell.gate.client() as client:
        answer = client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert shell.run("rev", "whoami").returncode == Exit.NOT_SIGNED_IN


def test_a_gateway_that_is_not_there_is_told(shell: Shell) -> None:
    found = shell.run("ann", "tasks", more={"TASKGATE_SERVER": "https://localhost:1"})
    assert found.returncode in (Exit.UNREACHABLE, Exit.NOT_SIGNED_IN)
    found = shell.run(
        "ann", "tasks", more={"TASKGATE_SERVER": "https://localhost:1", "TASKGATE_TOKEN": "x"}
    )
    assert found.returncode == Exit.UNREACHABLE
    assert "Traceback" not in found.stderr


def test_a_reader_that_goes_away_ends_a_command_quietly(shell: Shell) -> None:
    command = " ".join(shell.command("audit", "search", "--since", "1h")) + " | head -1"
    found = subprocess.run(
        command, shell=True, env=shell.environment("aud"), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in found.stderr
    assert "Exception" not in found.stderr
