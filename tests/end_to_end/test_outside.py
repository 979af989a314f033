"""People whom a provider vouches for, through a whole gate to a real database: by browser, by
device and by psql alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.end_to_end.outside import QUERY, ROOT, Outside, standing_outside
from tests.patience import within
from tests.servers import Server, Servers


@pytest.fixture(scope="module")
def outside(pg18: Server, servers: Servers) -> Iterator[Outside]:
    with standing_outside(pg18, servers) as found:
        yield found


def test_a_person_signs_in_by_browser_and_works(outside: Outside) -> None:
    done = outside.cli("ann", "login", "--oidc", "corp")
    assert done.returncode == 0, done.stderr
    assert "as corp:ann" in done.stderr
    me = json.loads(outside.cli("ann", "whoami", "--json").stdout)
    assert (me["key"], me["groups"]) == ("corp:ann", ["corp/analysts"])
    ran = outside.cli(
        "ann", "exec", "stated", "--reason", "a look", "--",
        *QUERY, "SELECT count(*) > 0 FROM shop.orders",
    )  # fmt: skip
    assert (ran.returncode, ran.stdout.strip()) == (0, "True"), ran.stderr


def test_a_sign_in_renews_itself_and_signing_out_ends_it(outside: Outside) -> None:
    assert outside.cli("ann", "login", "--oidc", "corp").returncode == 0
    path = outside.setting.gate.own.profiles / "ann.json"
    profile = json.loads(path.read_text())
    assert profile["refresh"]
    path.write_text(json.dumps(profile | {"expires_at": time.time() + 5}))
    assert outside.cli("ann", "whoami").returncode == 0
    renewed = json.loads(path.read_text())
    assert renewed["token"] != profile["token"]
    assert renewed["refresh"] != profile["refresh"]
    assert outside.cli("ann", "logout").returncode == 0
    assert json.loads(path.read_text())["refresh"] == ""
    assert outside.cli("ann", "whoami").returncode == 3


def test_a_person_signs_in_by_device(outside: Outside) -> None:
    own = outside.setting.gate.own
    environment = own.surroundings("eve") | {
        "TASKGATE_SERVER": own.url, "TASKGATE_CA": str(own.ca_file)
    }  # fmt: skip
    with subprocess.Popen(
        [*own.program, "login", "--oidc", "corp", "--device"],
        stderr=subprocess.PIPE, text=True, env=environment,
    ) as login:  # fmt: skip
        assert login.stderr is not None
        said = ""
        for line in login.stderr:
            said += line
            if "user_code=" in line:
                outside.provider.confirm(line.strip(), "eve")
        assert login.wait(60) == 0, said
    assert "as corp:eve" in said
    assert "report" not in outside.cli("eve", "tasks").stdout


STEP_UP = ("exec", "payroll", "--reason", "salaries", "--", *QUERY, "SELECT 'paid'")


def test_a_task_that_wants_a_second_factor_says_so(outside: Outside) -> None:
    assert outside.cli("ann", "login", "--oidc", "corp").returncode == 0
    # No terminal, nobody to sign in: it does not wait for a browser.
    done = outside.cli("ann", *STEP_UP)
    assert done.returncode == 3
    assert "task payroll needs a second factor" in done.stderr
    token = json.loads((outside.setting.gate.own.profiles / "ann.json").read_text())["token"]
    with outside.api(token) as api:
        answer = api.post("/v1/grants", json={"task": "payroll", "reason": "salaries"})
    assert answer.status_code == 401
    assert answer.json()["sign_in"] == {"mfa": True, "within_s": 900.0}
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="taskgate", error="insufficient_user_authentication", max_age="900"'
    )
    weak = outside.provider.tokens("ann")["id_token"]
    assert "needs a second factor" in outside.setting.psql("payroll", "SELECT 1", token=weak).stderr


def test_a_command_steps_up_and_goes_on(outside: Outside) -> None:
    assert outside.cli("ann", "login", "--oidc", "corp").returncode == 0
    done = outside.cli("ann", *STEP_UP, more={"TASKGATE_STEP_UP": "yes"})
    assert (done.returncode, done.stdout.strip()) == (0, "paid"), done.stderr
    assert "signing in again" in done.stderr
    # The new sign-in stays: the next one needs none.
    again = outside.cli("ann", *STEP_UP)
    assert (again.returncode, again.stdout.strip()) == (0, "paid"), again.stderr
    assert '"amr":["mfa","otp","pwd"]' in outside.events()


def test_stepping_up_as_somebody_else_is_refused(outside: Outside) -> None:
    assert outside.cli("ann", "login", "--oidc", "corp").returncode == 0
    as_eve = {"TASKGATE_STEP_UP": "yes", "BROWSER": str(outside.browser_of("eve"))}
    done = outside.cli("ann", *STEP_UP, more=as_eve)
    assert done.returncode == 3
    assert "that was corp:eve, and you are corp:ann" in done.stderr
    assert json.loads(outside.cli("ann", "whoami", "--json").stdout)["key"] == "corp:ann"


def test_an_unknown_provider_is_said_with_those_there_are(outside: Outside) -> None:
    done = outside.cli("ann", "login", "--oidc", "crop")
    assert done.returncode == 5
    assert "corp" in done.stderr


def test_psql_alone_with_the_providers_token_as_the_password(outside: Outside) -> None:
    token = outside.provider.tokens("ann")["id_token"]
    setting = outside.setting
    for _ in range(2):
        done = setting.psql("report", "SELECT count(*) > 0 FROM shop.orders", token=token)
        assert done.stdout.strip() == "t", done.stderr
    refused = setting.psql("report", "SELECT * FROM shop.customers", token=token)
    assert "42501" in refused.stderr
    # A task that wants a stated reason says so, and how to get in.
    done = setting.psql("stated", "SELECT 1", token=token)
    assert done.returncode
    assert "taskgate request stated" in done.stderr
    assert '"reason":"signed in directly: psql"' in outside.events()
    assert token not in outside.events()


def by_itself(
    outside: Outside, who: str, task: str, sql: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    """A client on libpq 18 that is given no password, and signs in by itself."""
    setting = outside.setting
    conninfo = {
        "host": "localhost", "port": setting.gate.port, "dbname": setting.database,
        "user": f"{task}@corp", "sslmode": "verify-full", "require_auth": "oauth",
        "sslrootcert": setting.gate.own.ca_file, "oauth_client_id": "psql",
        "oauth_issuer": outside.provider.issuer, "application_name": "psql",
    } | more  # fmt: skip
    given = " ".join(f"{name}='{value}'" for name, value in conninfo.items())
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    # The tests' provider speaks plain http on loopback, which libpq takes under this alone.
    environment |= {"PYTHONPATH": str(ROOT), "PGOAUTHDEBUG": "UNSAFE"}
    return subprocess.run(
        [sys.executable, "-m", "tests.oidc_provider.libpq", who, given, sql],
        capture_output=True, text=True, check=False, timeout=90, env=environment,
    )  # fmt: skip


def test_a_client_of_postgresql_18_signs_in_by_itself(outside: Outside) -> None:
    done = by_itself(outside, "ann", "report", "SELECT count(*) > 0 FROM shop.orders")
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    assert f"discovery {outside.provider.issuer}/.well-known/openid-configuration" in done.stderr
    assert "device and enter" in done.stderr
    refused = by_itself(outside, "ann", "report", "SELECT * FROM shop.customers")
    assert "shop.customers" in refused.stderr
    assert refused.returncode


def test_a_client_by_itself_gets_no_more_than_its_person(outside: Outside) -> None:
    assert "there is no task report" in by_itself(outside, "eve", "report", "SELECT 1").stderr
    stated = by_itself(outside, "ann", "stated", "SELECT 1")
    assert "taskgate request stated" in stated.stderr
    forged = by_itself(outside, "token:eyJ0.eyJ0.eyJ0", "report", "SELECT 1")
    assert "not accepted" in forged.stderr
    # An ID token is no access token, and another provider's discovery is not believed.
    plain = by_itself(outside, "token:opaque", "report", "SELECT 1")
    assert "not accepted" in plain.stderr
    elsewhere = by_itself(
        outside, "ann", "report", "SELECT 1", oauth_issuer="https://login.example.com"
    )
    assert "incompatible with oauth_issuer" in elsewhere.stderr


def test_a_provider_nobody_knows_is_said_and_older_clients_see_no_change(outside: Outside) -> None:
    done = by_itself(outside, "ann", "report@x", "SELECT 1", user="report@crop")
    assert "no identity provider 'crop'" in done.stderr
    assert "there are: corp" in done.stderr
    token = outside.provider.tokens("ann")["id_token"]
    assert outside.setting.psql("report", "SELECT 1", token=token).returncode == 0


def test_somebody_else_is_refused_in_the_words_for_a_task_that_is_not_there(
    outside: Outside,
) -> None:
    token = outside.provider.tokens("eve")["id_token"]
    here = outside.setting.psql("report", "SELECT 1", token=token).stderr
    gone = outside.setting.psql("reporx", "SELECT 1", token=token).stderr
    assert "there is no task" in here
    assert here.replace("report", "reporx") == gone


def test_a_token_for_another_application_is_refused(outside: Outside) -> None:
    token = outside.provider.tokens("ann", "other-app")["id_token"]
    done = outside.setting.psql("report", "SELECT 1", token=token)
    assert "28000" in done.stderr or "not accepted" in done.stderr
    with outside.api(token) as api:
        assert api.get("/v1/me").status_code == 401


def test_a_revoked_grant_does_not_come_back_with_the_same_token(outside: Outside) -> None:
    tokens = outside.provider.tokens("ann")
    token = tokens["id_token"]
    assert outside.setting.psql("report", "SELECT 1", token=token).returncode == 0
    with outside.api(token) as api:
        mine = [g for g in api.get("/v1/grants").json() if g["task"] == "report"]
        newest = max(mine, key=lambda g: g["not_before"])
        assert api.post(f"/v1/grants/{newest['id']}/revoke", json={}).status_code == 204
    done = outside.setting.psql("report", "SELECT 1", token=token)
    assert done.returncode
    assert "is over" in done.stderr
    again = outside.provider.tokens("ann")["id_token"]
    assert outside.setting.psql("report", "SELECT 1", token=again).returncode == 0


def test_the_api_takes_id_and_access_tokens_as_bearer(outside: Outside) -> None:
    tokens = outside.provider.tokens("ann")
    with outside.api(tokens["id_token"]) as api:
        assert api.get("/v1/me").json()["key"] == "corp:ann"
        assert api.post("/v1/logout").status_code == 409
    with outside.api(outside.provider.robot_token()) as api:
        me = api.get("/v1/me").json()
        assert (me["key"], me["kind"], me["groups"]) == ("corp:robot", "workload", [])
    with outside.api(tokens["id_token"][:-6]) as api:
        assert api.get("/v1/me").status_code == 401


def test_a_provider_that_hangs_is_said_in_time_and_open_sessions_go_on(outside: Outside) -> None:
    token = outside.provider.tokens("ann")["id_token"]

    def refused_s() -> float:
        began = time.monotonic()
        done = outside.cli("new", "login", "--oidc", "corp", "--device")
        assert done.returncode == 6
        assert "cannot be used now: no answer within 5 s" in done.stderr
        return time.monotonic() - began

    with outside.setting.connect("report", token) as session:
        outside.provider.process.send_signal(signal.SIGSTOP)
        try:
            within(15, refused_s)
            assert session.execute("SELECT count(*) > 0 FROM shop.orders").fetchone() == (True,)
            # Its keys are known, so its tokens go on being taken.
            assert outside.setting.psql("report", "SELECT 1", token=token).returncode == 0
        finally:
            outside.provider.process.send_signal(signal.SIGCONT)
