"""Every endpoint by every role: who gets in, and who does not."""

from dataclasses import dataclass

import pytest

from tests.api.gate import PEOPLE, Gate

NOBODY = frozenset[str]()
EVERYBODY = frozenset(PEOPLE)
# Ids that stand for nothing: whoever may ask gets 404 (or 422), whoever may not gets 403.
GHOST = "x-0000000000000"
VERSION = "0" * 64


@dataclass(frozen=True, slots=True)
class Case:
    """`allowed` may; everybody else signed in gets `refused`. `answer` is what the allowed get."""

    method: str
    path: str
    allowed: frozenset[str]
    answer: int = 200
    refused: int = 403
    body: object = None
    public: bool = False


def only(*names: str) -> frozenset[str]:
    return frozenset(names)


CASES = [
    Case("GET", "/v1/me", EVERYBODY),
    Case("GET", "/v1/tasks", EVERYBODY),
    Case("GET", "/v1/grants", EVERYBODY),
    Case("GET", "/v1/grants?all=true", only("aud", "rev", "adm")),
    Case(
        "POST", "/v1/grants", only("lea", "lou"), 201,
        body={"task": "lead-work", "reason": "the matrix"},
    ),
    Case("POST", f"/v1/grants/{GHOST}/tokens", EVERYBODY, 404),
    Case("POST", f"/v1/grants/{GHOST}/revoke", EVERYBODY, 404, body={"why": ""}),
    Case("DELETE", f"/v1/grants/{GHOST}", EVERYBODY, 404),
    Case("GET", "/v1/approvals", EVERYBODY),
    Case("GET", f"/v1/approvals/{GHOST}", EVERYBODY, 404),
    Case("POST", f"/v1/approvals/{GHOST}/approve", EVERYBODY, 404, body={}),
    Case("POST", f"/v1/approvals/{GHOST}/deny", EVERYBODY, 404, body={"reason": "no"}),
    Case("GET", "/v1/standing", EVERYBODY),
    Case("POST", f"/v1/standing/{GHOST}/end", EVERYBODY, 404),
    Case("GET", "/v1/sessions", EVERYBODY),
    Case("GET", "/v1/sessions?all=true", only("aud", "adm")),
    Case(
        "POST", f"/v1/sessions/{GHOST}/terminate", only("adm"), 404, body={"why": "the matrix"}
    ),
    Case("GET", f"/v1/recordings/{GHOST}", only("rep"), 404),
    Case("GET", f"/v1/recordings/{GHOST}/stream", only("rep"), 404),
    Case("GET", f"/v1/recordings/{GHOST}/files", only("rep"), 404),
    Case("GET", f"/v1/recordings/{GHOST}/files/1", only("rep"), 404),
    Case("GET", "/v1/audit/search", only("aud")),
    Case("POST", "/v1/audit/verify", only("aud")),
    Case("POST", "/v1/policy/check", only("aut", "adm"), body={"files": {}}),
    Case("POST", "/v1/policy/apply", only("aut"), body={}),
    Case("GET", "/v1/policy/history", only("aut", "adm", "aud")),
    Case("GET", f"/v1/policy/versions/{VERSION}", only("aut", "adm", "aud"), 404),
    Case(
        "POST", "/v1/policy/explain", only("aut", "adm", "aud"), 404,
        body={"task": "no-such-task", "text": "SELECT 1", "who": "ghost"},
    ),
    Case("GET", "/v1/secrets", only("adm")),
    Case("PUT", "/v1/secrets/matrix", only("adm"), 204, body={"value": "a value"}),
    Case("DELETE", "/v1/secrets/no-such-secret", only("adm"), 404),
    Case("GET", "/v1/host-keys", only("adm")),
    Case("DELETE", "/v1/host-keys/no-such-host", only("adm"), 404),
    Case("GET", "/v1/users", only("adm")),
    Case(
        "POST", "/v1/users", only("adm"), 409,
        body={"name": "ann", "password": "long enough to be one"},
    ),
    Case("POST", "/v1/users/ghost/password", only("adm"), 404, body={"password": "long enough"}),
    Case("POST", "/v1/users/ghost/groups", only("adm"), 404, body={"groups": ["leads"]}),
    Case("POST", "/v1/users/ghost/disable", only("adm"), 404),
    Case("POST", "/v1/users/ghost/enable", only("adm"), 404),
    Case("GET", "/v1/reviews", EVERYBODY),
    Case("GET", f"/v1/reviews/{GHOST}", EVERYBODY, 404),
    Case("POST", f"/v1/reviews/{GHOST}", EVERYBODY, 404, body={"note": "fine"}),
    Case("GET", "/v1/alerts", EVERYBODY),
    Case(
        "POST", "/v1/break-glass", NOBODY, body={"task": "sales-report", "reason": "the matrix"}
    ),
    Case("POST", f"/v1/break-glass/{GHOST}/collect", EVERYBODY, 404),
    Case("POST", f"/v1/break-glass/{GHOST}/approve", EVERYBODY, 404, body={}),
    Case("POST", f"/v1/break-glass/{GHOST}/deny", EVERYBODY, 404, body={}),
    Case("POST", "/v1/users/ghost/reset-mfa", only("adm"), 404),
    Case("GET", "/v1/mfa", EVERYBODY),
    Case("POST", "/v1/mfa/apps", EVERYBODY, 201, body={}),
    Case("POST", f"/v1/mfa/apps/{GHOST}/confirm", EVERYBODY, 404, body={"code": "123456"}),
    Case("POST", "/v1/mfa/recovery-codes/renew", EVERYBODY, 409),
    Case("DELETE", f"/v1/mfa/{GHOST}", EVERYBODY, 404),
    Case("POST", f"/v1/grants/{GHOST}/derive", EVERYBODY, 404, body={}),
    Case("POST", "/v1/people/ghost/offboard", only("off"), 404, body={"why": "the matrix"}),
    Case("POST", "/v1/people/ghost/reinstate", only("off"), 404, body={"why": "the matrix"}),
    Case(
        "POST", "/v1/where-used", only("aud", "adm", "off"), body={"what": "sales-report"}
    ),
    Case("GET", "/v1/ssh", EVERYBODY),
    Case("POST", "/v1/ssh/certificates", EVERYBODY, 422, body={"public_key": "none"}),
    Case("GET", "/v1/ssh/keys", EVERYBODY),
    Case("GET", "/v1/ssh/keys?all=true", only("adm")),
    Case("POST", "/v1/ssh/keys", EVERYBODY, 422, body={"public_key": "none", "proof": "none"}),
    Case("POST", "/v1/ssh/keys/challenge", EVERYBODY, 422, body={"public_key": "none"}),
    Case("DELETE", f"/v1/ssh/keys/{GHOST}", EVERYBODY, 404),
    Case("GET", "/v1/hygiene", only("aud", "adm", "off")),
    Case("GET", "/v1/ca", EVERYBODY, public=True),
    Case("GET", "/healthz", EVERYBODY, public=True),
    Case("GET", "/readyz", EVERYBODY, public=True),
    Case("GET", "/v1/openapi.json", EVERYBODY, public=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path}")
def test_each_role_gets_what_the_policy_gives_it(gate: Gate, case: Case) -> None:
    for who in PEOPLE:
        answer = gate.call(who, case.method, case.path, case.body)
        wanted = case.answer if who in case.allowed else case.refused
        assert answer.status_code == wanted, f"{who}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path}")
def test_nobody_gets_in_without_signing_in(gate: Gate, case: Case) -> None:
    answer = gate.call(None, case.method, case.path, case.body)
    assert answer.status_code == (case.answer if case.public else 401)
    if not case.public:
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_table_has_every_route(gate: Gate) -> None:
    paths = gate.call(None, "GET", "/v1/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    # Their own tests have these: signing in and out, the stream, metrics.
    routes -= {
        ("POST", "/v1/login"),
        ("POST", "/v1/logout"),
        ("POST", "/v1/oidc/begin"),
        ("POST", "/v1/oidc/finish"),
        ("POST", "/v1/oidc/device"),
        ("POST", "/v1/oidc/device/poll"),
        ("POST", "/v1/oidc/refresh"),
        ("POST", "/v1/oidc/logout"),
        ("POST", "/v1/oidc/{provider}/backchannel-logout"),
        ("POST", "/v1/saml/begin"),
        ("POST", "/v1/saml/finish"),
        ("POST", "/v1/saml/logout"),
        ("POST", "/v1/bootstrap"),
        ("POST", "/v1/token"),
        ("POST", "/v1/token/revoke"),
        ("GET", "/v1/approvals/stream"),
        ("GET", "/metrics"),
    }
    covered = {(case.method, _template(case.path, paths)) for case in CASES}
    assert routes - covered == set()


def _template(path: str, paths: dict[str, object]) -> str:
    plain = path.split("?", maxsplit=1)[0].split("/")
    for template in paths:
        parts = template.split("/")
        if len(parts) == len(plain) and all(
            part == given or part.startswith("{") for part, given in zip(parts, plain, strict=True)
        ):
            return template
    return path
