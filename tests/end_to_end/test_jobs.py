"""A CI job that exchanges its token, through a whole gate to a real database, and leaves nothing
alive."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.certificates import Authority
from tests.end_to_end.outside import QUERY, Outside, standing_outside
from tests.patience import eventually
from tests.servers import Server, Servers


@pytest.fixture(scope="module")
def outside(pg18: Server, servers: Servers) -> Iterator[Outside]:
    with standing_outside(pg18, servers) as found:
        yield found


def test_a_job_runs_its_step_is_refused_one_table_over_and_leaves_nothing_alive(
    outside: Outside,
) -> None:
    as_job = ("exec", "export", "--identity", "env:JOB_TOKEN", "--", *QUERY)
    more = {"JOB_TOKEN": outside.job()}
    done = outside.cli("ci", *as_job, "SELECT count(*) > 0 FROM shop.orders", more=more)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    assert outside.live_grants() == []
    again = outside.cli("ci", *as_job, "SELECT 1", more=more)
    assert again.returncode == 7, "one token, one run"
    over = outside.cli(
        "ci", *as_job, "SELECT * FROM shop.customers", more={"JOB_TOKEN": outside.job()}
    )
    assert over.returncode == 1
    assert "permission denied" in over.stderr or "shop.customers" in over.stderr
    assert outside.live_grants() == []
    events = outside.events()
    assert '"run_id":"4242"' in events
    assert more["JOB_TOKEN"] not in events
    assert more["JOB_TOKEN"] not in outside.setting.gate.own.log.read_text()


@contextmanager
def runner(outside: Outside, folder: Path) -> Iterator[dict[str, str]]:
    """What a GitHub runner gives a job with `id-token: write`: where to ask for its token (https),
    and the bearer that may."""
    authority = Authority(folder, "runner's")
    pair = authority.issue("localhost", hosts=("localhost",))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            may = self.headers["Authorization"] == "Bearer runner-secret"
            token = outside.job(aud=query["audience"][0]) if may and query.get("v") else ""
            body = json.dumps({"count": 1, "value": token}).encode()
            self.send_response(200 if token else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"https://localhost:{server.server_port}/token?v=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret",
            "SSL_CERT_FILE": str(authority.certificate),
            "TASKGATE_AUDIENCE": "https://gate.example.com",
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_github_job_asks_its_runner_runs_its_step_and_leaves_nothing_alive(
    outside: Outside, tmp_path: Path
) -> None:
    as_job = ("exec", "export", "--identity", "github", "--", *QUERY)
    with runner(outside, tmp_path / "ca") as given:
        done = outside.cli("ci", *as_job, "SELECT count(*) > 0 FROM shop.orders", more=given)
        assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
        over = outside.cli("ci", *as_job, "SELECT * FROM shop.customers", more=given)
        assert over.returncode == 1
        assert "shop.customers" in over.stderr
        wrong = outside.cli("ci", *as_job, "SELECT 1", more=given | {"TASKGATE_AUDIENCE": "sts"})
        assert wrong.returncode == 7
        without = {**given, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "guessed"}
        assert outside.cli("ci", *as_job, "SELECT 1", more=without).returncode == 3
    assert outside.live_grants() == []
    behind = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'taskgate repo:%'"
    eventually(lambda: outside.setting.behind(behind) == "0")


def test_a_jobs_command_cannot_ask_for_more_than_its_task(outside: Outside) -> None:
    done = outside.cli(
        "ci", "exec", "export", "--identity", "env:JOB_TOKEN", "--", "env",
        more={"JOB_TOKEN": outside.job(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner-secret"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PGPASSWORD=tg_" in done.stdout
    assert "eyJ" not in done.stdout
    assert "runner-secret" not in done.stdout


def test_settings_for_several_steps_and_done_at_the_end(outside: Outside, tmp_path: Path) -> None:
    held = tmp_path / "token"
    held.write_text(outside.job())
    shown = outside.cli("ci", "env", "export", "--identity", f"file:{held}")
    assert shown.returncode == 0, shown.stderr
    password = next(
        line.partition("=")[2] for line in shown.stdout.splitlines() if "PGPASSWORD" in line
    )
    assert outside.setting.psql("export", "SELECT 1", token=password).returncode == 0
    assert len(outside.live_grants()) == 1
    assert outside.cli("ci", "done", more={"PGPASSWORD": password}).returncode == 0
    assert outside.live_grants() == []
    assert outside.setting.psql("export", "SELECT 1", token=password).returncode


FORM = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "scope": "export",
}


def test_the_token_endpoint_speaks_rfc_8693(outside: Outside) -> None:
    with outside.api() as api:
        answer = api.post("/v1/token", data=FORM | {"subject_token": outside.job()})
        found = answer.json()
        assert answer.status_code == 200, found
        assert found["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
        assert found["token_type"] == "Bearer"
        assert 0 < found["expires_in"] <= 300
        assert found["access_token"].startswith("tg_")
        assert answer.headers["cache-control"] == "no-store"
        assert api.post("/v1/token/revoke", data={"token": found["access_token"]}).text == ""
        gone = api.post("/v1/token/revoke", data={"token": "tg_nothing"})
        assert gone.status_code == 200


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"subject_token": ""}, 400, "invalid_request"),
        ({"subject_token": "x.y.z"}, 400, "invalid_grant"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, 400, "invalid_request"),
        ({"requested_token_type": "urn:x"}, 400, "invalid_request"),
        ({"actor_token": "x"}, 400, "invalid_request"),
        ({"scope": ""}, 400, "invalid_scope"),
        ({"scope": "export report"}, 400, "invalid_scope"),
        ({"scope": "report"}, 400, "invalid_grant"),
        ({"scope": "no-such-task"}, 400, "invalid_grant"),
        ({"audience": "no-such-resource"}, 400, "invalid_target"),
    ],
)
def test_what_the_token_endpoint_refuses(
    outside: Outside, changed: dict[str, str], status: int, error: str
) -> None:
    with outside.api() as api:
        form = FORM | {"subject_token": outside.job()} | changed
        answer = api.post("/v1/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def test_forms_that_can_be_read_in_two_ways_are_refused(outside: Outside) -> None:
    with outside.api() as api:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        twice = "&".join(f"{name}={value}" for name, value in FORM.items()) + "&scope=report"
        answer = api.post("/v1/token", content=twice, headers=form)
        assert answer.json()["error_description"] == "a parameter is given twice"
        as_json = api.post("/v1/token", json=FORM)
        assert as_json.json()["error"] == "invalid_request"
        large = api.post("/v1/token", data=FORM | {"subject_token": "x" * 100_000})
        assert large.status_code == 413


def test_wrong_tokens_are_refused_in_one_voice(outside: Outside) -> None:
    with outside.api() as api:
        answers = {
            api.post("/v1/token", data=FORM | {"subject_token": token} | more).text
            for token, more in (
                (outside.job(ref="refs/heads/evil"), {}),
                (outside.job(exp=1), {}),
                (outside.job(aud="x"), {}),
                (outside.job()[:-6], {}),
                (outside.job(), {"scope": "stated"}),
                (outside.job(), {"scope": "no-such-task"}),
            )
        }
    assert len(answers) == 1, answers
    assert "refs/heads/main" not in answers.pop()
    assert "the token's claims do not meet ref in [refs/heads/main]" in outside.events()
