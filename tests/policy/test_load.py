from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.masking.detectors import KINDS
from taskgate.model import limits
from taskgate.model.authentication import SignInDemand
from taskgate.model.decision import ApprovalDemand, Outcome
from taskgate.model.errors import BadConfig
from taskgate.model.identity import IdentityKind
from taskgate.model.limits import MAX_POLICY_FILE_BYTES
from taskgate.model.masks import Compared, KindMask, Transform, TransformKind
from taskgate.model.resource import SecretRef, TlsMode
from taskgate.policy.load import DETECTED_KINDS, load_dir, load_files, version_of
from taskgate.policy.problems import PolicyErrors
from taskgate.policy.reference import examples
from taskgate.policy.rules import Effect, Lasts, Right, StandingLimit
from tests.policy.making import HEAD, RESOURCE, errors_of, policy, task


def test_the_designs_example_is_read_as_it_says() -> None:
    loaded = load_files({"sales.yaml": examples()["sales-report.yaml"]})
    resource = loaded.resources["warehouse"]
    assert (resource.host, resource.port, resource.tls) == (
        "db.internal",
        5432,
        TlsMode.VERIFY_FULL,
    )
    assert resource.credential.username == "tg_reports"
    assert resource.credential.password == SecretRef("env", "WAREHOUSE_PASSWORD")
    given = loaded.tasks["sales-report"]
    assert given.resources == ("warehouse",)
    assert given.members.groups == {"analysts"}
    assert given.lasts == Lasts(3600, 14400)
    assert given.hours is not None
    assert given.hours.text == ("Mon-Fri 08:00-19:00 Europe/Berlin",)
    assert [(rule.address, rule.source) for rule in given.rules] == [
        ("sales-report/permit[0]", "sales.yaml:16"),
        ("sales-report/hold[0]", "sales.yaml:18"),
        ("sales-report/deny[0]", "sales.yaml:21"),
    ]
    assert given.rules[1].demand == ApprovalDemand(frozenset({"data-leads"}), frozenset(), 1, 900)
    assert given.rules[2].reason == "schema changes go through migrations"
    assert given.otherwise is Outcome.DENY
    email, card = given.masks.columns[0], given.masks.kinds[0]
    assert (email.relation, email.column) == ("sales.customers", "email")
    assert (email.transform.kind, email.compared) == (TransformKind.PARTIAL, Compared.DENY)
    assert card == KindMask("credit_card", Transform(TransformKind.REDACT), "sales-report/mask[1]")
    assert given.limits.max_bytes == 200_000_000


def test_every_example_of_the_reference_loads() -> None:
    loaded = load_files(examples())
    assert set(loaded.tasks) == {
        "sales-report", "on-call", "migrations", "nightly-export", "restart-web",
    }  # fmt: skip
    assert set(loaded.roles) == {"auditors", "keepers"}
    assert loaded.roles["keepers"].rights == {Right.ADMINISTER, Right.AUTHOR, Right.REVOKE}


def test_the_kinds_are_those_of_the_detectors() -> None:
    assert frozenset(KINDS) == DETECTED_KINDS


def test_everything_that_has_a_default() -> None:
    given = task("permit: [{select: s.a}]")
    assert given.lasts == Lasts(3600, 3600)
    assert given.hours is None
    assert given.otherwise is Outcome.DENY
    assert not given.record_rows
    assert given.standing == StandingLimit(20, 1800)
    assert not given.masks
    assert given.limits.rows is None


@pytest.mark.parametrize(
    ("body", "lasts"),
    [
        ("lasts: 2h", Lasts(7200, 7200)),
        ("lasts: {default: 2h}", Lasts(7200, 7200)),
        ("lasts: {at_most: 2h}", Lasts(3600, 7200)),
        ("lasts: {at_most: 30m}", Lasts(1800, 1800)),
        ("lasts: {default: 10m, at_most: 2h}", Lasts(600, 7200)),
    ],
)
def test_how_long_grants_last(body: str, lasts: Lasts) -> None:
    assert task(body).lasts == lasts


@pytest.mark.parametrize(
    ("spelled", "transform"),
    [
        ("redact", Transform(TransformKind.REDACT)),
        ("null", Transform(TransformKind.NULL)),
        ('"null"', Transform(TransformKind.NULL)),
        ("hash", Transform(TransformKind.HASH)),
        ("{constant: x}", Transform(TransformKind.CONSTANT, "x")),
        ("{constant: 0}", Transform(TransformKind.CONSTANT, "0")),
        ('{constant: ""}', Transform(TransformKind.CONSTANT, "")),
    ],
)
def test_ways_to_mask(spelled: str, transform: Transform) -> None:
    given = task(f"mask: [{{columns: s.a.x, as: {spelled}}}]")
    assert given.masks.columns[0].transform == transform


def test_wider_forms() -> None:
    loaded = load_files(
        {
            "a.yml": RESOURCE + "---\n" + RESOURCE.replace("name: db", "name: db2"),
            "b.yaml": """\
kind: Task
name: t
resources: [db, db2]
for: {people: [bob, "https://idp:ann"], kinds: [human, agent]}
approvals: {standing: false}
record: {rows: true}
hold:
  - {write: ["s.*"], for: {subjects: [eve, "https://idp:ann"], people: 2, within: 5m}}
""",
        }
    )
    given = loaded.tasks["t"]
    assert given.resources == ("db", "db2")
    assert given.members.subjects == {"local:bob", "https://idp:ann"}
    assert given.members.kinds == {IdentityKind.HUMAN, IdentityKind.AGENT}
    assert given.standing is None
    assert given.record_rows
    assert given.rules[0].effect is Effect.HOLD
    assert given.rules[0].demand == ApprovalDemand(
        frozenset(), frozenset({"local:eve", "https://idp:ann"}), 2, 300
    )
    assert [entry.verb for entry in given.rules[0].entries] == [
        "insert",
        "update",
        "delete",
        "truncate",
        "copy_from",
    ]


def test_the_version_is_the_contents() -> None:
    files = {"a.yaml": "x: 1\n", "b.yaml": "y: 2\n"}
    version = version_of(files)
    assert len(version) == 64
    assert version_of(dict(reversed(files.items()))) == version
    assert version_of({"a.yaml": "\ufeffx: 1\r\n", "b.yaml": "y: 2\r"}) == version
    assert version_of({"a.yaml": "x: 1\n", "c.yaml": "y: 2\n"}) != version
    assert version_of({"a.yaml": "x: 1\ny: 2\n", "b.yaml": ""}) != version
    # Names and texts cannot run into each other.
    assert version_of({"ab": "c"}) != version_of({"a": "bc"})
    loaded = policy("permit: [{select: s.a}]")
    assert loaded.version == version_of(loaded.files)


@pytest.mark.parametrize(
    ("body", "line", "said", "hint"),
    [
        ("permitt: []", 5, "unknown key permitt", "did you mean permit?"),
        ("permit: [{selct: [s.a]}]", 5, "unknown key permit[0].selct", "did you mean select?"),
        ("permit:\n  - select: [s.a]\n    resaon: x", 7, "resaon", "did you mean reason?"),
        ("hold:\n- update: [s.a]\n  for: {group: [x]}", 7, "group", "did you mean groups?"),
        ("limits: {row: 5}", 5, "limits.row", "did you mean rows?"),
        ("permit: [{for: {groups: [a]}, select: s.a}]", 5, "permit[0].for", ""),
        ("sign_in: {}", 5, "nothing is asked for", ""),
        ("sign_in: {mfa: false}", 5, "nothing is asked for", ""),
        ("sign_in: {within: 30s}", 5, "within is 1m at least", ""),
        ("sign_in: {acr: 'a b'}", 5, "is no authentication class", ""),
        ("sign_in: {acr: []}", 5, "empty", ""),
        ("sign_in: {mfa: yes please}", 5, "sign_in.mfa", ""),
        ("sign_in: {max_age: 5m}", 5, "unknown key sign_in.max_age", ""),
        ("lasts: {default: 2h, at_most: 1h}", 5, "default is longer than at_most", ""),
        ("lasts: 60", 5, "needs its unit", ""),
        ("hours: Mon-Fri", 5, None, ""),
        ("hours: 08:00-08:00", 5, "never opens", "whole day"),
        ("hours: [08:00-09:00, 8-9]", 5, "no time range", "write"),
        ("hold: [{update: s.a}]", 5, "nobody approves this hold", "hold_for"),
        ("hold: [{update: s.a, for: {people: 2}}]", 5, "nobody may approve", "groups"),
        ("hold: [{update: s.a, for: {groups: [a], people: 0}}]", 5, "people", ""),
        ("hold: [{update: s.a, for: {subjects: [a], people: 2}}]", 5, "never be met", ""),
        ("hold: [{update: s.a, for: {people: [bob]}}]", 5, "how many must agree", "subjects"),
        ("hold: [{update: s.a, for: {groups: [a], within: 9d}}]", 5, "at most 1d", ""),
        ("otherwise: hold", 5, "nobody approves", "hold_for"),
        ("otherwise: permit", 5, "otherwise", ""),
        ("hold_for: {groups: [a]}", 5, "never takes effect", "otherwise"),
        ("permit: [{reason: x}]", 5, "without a verb", "select"),
        ("permit: [{select: []}]", 5, "empty", ""),
        ("permit: [{select: [s.a, s.a]}]", 5, "listed twice", ""),
        ("permit: [{select: [1]}]", 5, "a text is expected", "quotes"),
        ("permit: {select: s.a}", 5, "a list is expected", ""),
        ("permit: [select]", 5, "keys and values are expected", ""),
        ("permit: [{select: orders}]", 5, "has no schema", "public.orders"),
        ("permit: [{transaction: begin}]", 5, "needs no permit", ""),
        ("permit: [{select: s.a, trusted: true}]", 5, "call only", ""),
        ("permit: [{select: s.a, trusted: yes}]", 5, "true or false", ""),
        ("mask: [{columns: s.a.x}]", 5, "as is missing", ""),
        ("mask: [{columns: s.a.x, as: star}]", 5, "write redact", ""),
        ("mask: [{columns: s.a, as: hash}]", 5, "schema.table.column", "public.s.a"),
        ("mask: [{as: hash}]", 5, "either columns or kinds", ""),
        ("mask: [{kinds: [credit_crad], as: hash}]", 5, "unknown kind", "credit_card"),
        ("mask: [{kinds: [email], as: hash, compared: deny}]", 5, "compared is for columns", ""),
        ("mask: [{columns: s.a.x, as: hash, compared: hold}]", 5, "nobody approves", "hold_for"),
        ("mask: [{columns: s.a.x, as: hash, for: {groups: [a]}}]", 5, "compared: hold only", ""),
        ("limits: {rows: 0}", 5, "limits.rows", ""),
        ("limits: {bytes: 5 apples}", 5, "no size", "200MB"),
        ("approvals: {standing: {uses: 100000}}", 5, "uses", ""),
        ("approvals: {standing: {lasts: 9h}}", 5, "at most 8h", ""),
        ("resources: [db]", 1, "either resource or resources", ""),
        ("record: rows", 5, "keys and values are expected", "rows"),
    ],
)
def test_what_is_wrong_with_a_task(body: str, line: int, said: str | None, hint: str) -> None:
    if said is None:
        task(body)
        return
    found = errors_of(body)
    assert any(
        where == f"t.yaml:{line}" and said in message and hint in (message + suggestion)
        for where, message, suggestion in found
    ), found


def test_what_a_sign_in_must_be_like() -> None:
    assert task("").sign_in is None
    assert task("sign_in: {mfa: true, within: 15m}").sign_in == SignInDemand(True, 900)
    assert task("sign_in: {acr: [gold, silver]}").sign_in == SignInDemand(acr=("gold", "silver"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("[g]", "[g], kinds: [workload]") + "sign_in: {mfa: true}", "never meet"),
        (HEAD.replace("resource: db", "resource: dbb"), "unknown resource dbb; did you mean db?"),
        (HEAD.replace("{groups: [g]}", "{}"), "nobody is named"),
        (HEAD.replace("{groups: [g]}", "{kinds: [human]}"), "nobody is named"),
        (HEAD.replace("{groups: [g]}", "{groups: []}"), "empty"),
        (HEAD.replace("{groups: [g]}", '{groups: ["*"]}'), "no patterns"),
        (HEAD.replace("{groups: [g]}", "{groups: [g], kinds: [robot]}"), "kinds"),
        (HEAD.replace("kind: Task", "kind: Taks"), "did you mean Task?"),
        (HEAD.replace("kind: Task", "name2: x"), "kind must be"),
        (HEAD.replace("name: t", "name: T"), "only a-z"),
        (HEAD.replace("name: t", "name: a+b"), "only a-z"),
        (HEAD + "---\n" + HEAD, "a task t is at t.yaml:2 already"),
        ("just text", "kind must be"),
        ("[]", "kind must be"),
    ],
)
def test_what_is_wrong_with_a_document(text: str, said: str) -> None:
    found = errors_of({"r.yaml": RESOURCE, "t.yaml": text})
    assert any(said in f"{message}; {hint}" for _, message, hint in found), found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("protocol: postgres", "protocol: postgre", "did you mean postgres?"),
        ("address: db.internal", "address: db.internal:0", "write host:port"),
        ("address: db.internal", "address: db:70000", "write host:port"),
        ("address: db.internal", "address: a:b:c", "write host:port"),
        ("address: db.internal", "address: gate:pw@db", "only host:port"),
        ("address: db.internal", "address: ''", "write host:port"),
        ("{env: DB_PASSWORD}", "{env: X, file: /y}", "exactly one"),
        ("{env: DB_PASSWORD}", "{}", "exactly one"),
        ("{env: DB_PASSWORD}", "{env: 'A B'}", "environment variable"),
        ("username: gate", "certificate: {file: c}, username: gate", "come together"),
        ("protocol: postgres", "protocol: postgres\ntls: on", "tls"),
        ("protocol: postgres", "protocol: postgres\nport: 5432", "unknown key port"),
    ],
)
def test_what_is_wrong_with_a_resource(old: str, new: str, said: str) -> None:
    found = errors_of({"r.yaml": RESOURCE.replace(old, new)})
    assert any(said in f"{message}; {hint}" for _, message, hint in found), found


@pytest.mark.parametrize("address", ["[::1]:5433", "[::1]", "db", "10.0.0.1:5432"])
def test_addresses(address: str) -> None:
    loaded = load_files({"r.yaml": RESOURCE.replace("db.internal", f'"{address}"')})
    resource = loaded.resources["db"]
    assert resource.port == (5433 if "5433" in address else 5432)
    assert "[" not in resource.host


def test_a_broken_resource_is_not_called_unknown_too() -> None:
    found = errors_of({"r.yaml": RESOURCE.replace("address", "adress"), "t.yaml": HEAD})
    assert [(message, hint) for _, message, hint in found] == [
        ("r.yaml:1: address is missing", ""),
        ("r.yaml:4: unknown key adress", "did you mean address?"),
    ]


def test_all_errors_of_all_files_are_told_in_order() -> None:
    found = errors_of(
        {"b.yaml": RESOURCE + "x: 1\n", "a.yaml": HEAD + "y: 1\npermit: [{slect: s.a}]\n"}
    )
    assert [where for where, _, _ in found] == ["a.yaml:5", "a.yaml:6", "b.yaml:6"]


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tasks" / ".hidden").mkdir(parents=True)
    (tmp_path / "r.yml").write_text(RESOURCE)
    (tmp_path / "tasks" / "t.yaml").write_text(HEAD + "permit: [{select: s.a}]\n")
    (tmp_path / "tasks" / ".hidden" / "x.yaml").write_text("broken: [")
    (tmp_path / "tasks" / ".t.yaml.swp.yaml").write_text("broken: [")
    (tmp_path / "README.md").write_text("no policy")
    loaded = load_dir(tmp_path)
    assert set(loaded.files) == {"r.yml", "tasks/t.yaml"}
    assert loaded.tasks["t"].source == "tasks/t.yaml:1"
    assert loaded.version == load_files(loaded.files).version


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyErrors, match="no folder"):
        load_dir(tmp_path / "none")
    with pytest.raises(PolicyErrors, match="no policy files"):
        load_dir(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(PolicyErrors, match=r"latin.yaml: not UTF-8"):
        load_dir(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"#" * (MAX_POLICY_FILE_BYTES + 5))
    with pytest.raises(PolicyErrors, match="larger than"):
        load_dir(tmp_path)


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(PolicyErrors, match="not Unicode"):
        load_files({"a.yaml": "name: \ud800"})


@settings(max_examples=150)
@given(st.text(alphabet="abkindTsreou:{}[]-, \n\"'*.()@", max_size=120))
def test_any_text_is_loaded_or_refused_with_places(text: str) -> None:
    try:
        load_files({"r.yaml": RESOURCE, "t.yaml": HEAD + text})
    except PolicyErrors as error:
        found: tuple[BadConfig, ...] = error.errors
    else:
        found = ()
    assert all(one.where.startswith(("t.yaml", "r.yaml")) for one in found)


@pytest.mark.cap("MAX_HOLD_S", "MAX_STANDING_S", "MAX_STANDING_USES")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("hold: [{update: s.a, for: {groups: [l], within: 24h}}]\n", ""),
        ("hold: [{update: s.a, for: {groups: [l], within: 1441m}}]\n", "within is at most"),
        ("permit: [{select: s.a}]\napprovals: {standing: {uses: 1000, lasts: 8h}}\n", ""),
        ("permit: [{select: s.a}]\napprovals: {standing: {uses: 1001}}\n", "1000"),
        ("permit: [{select: s.a}]\napprovals: {standing: {lasts: 481m}}\n", "lasts is at most"),
    ],
)
def test_how_far_holds_and_approvals_in_advance_may_go(body: str, said: str) -> None:
    if not said:
        assert policy(body)
        return
    with pytest.raises(PolicyErrors, match=said):
        policy(body)


@pytest.mark.cap("MAX_POLICY_FILES")
def test_a_policy_has_so_many_files(tmp_path: Path) -> None:
    files = {f"{number}.yaml": "# nothing\n" for number in range(limits.MAX_POLICY_FILES - 1)}
    files["r.yaml"] = RESOURCE
    assert load_files(files).resources
    files["one-more.yaml"] = "# nothing\n"
    with pytest.raises(PolicyErrors, match="more than 1000 policy files"):
        load_files(files)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(PolicyErrors, match="more than 1000 policy files"):
        load_dir(tmp_path)
    (tmp_path / "one-more.yaml").unlink()
    assert load_dir(tmp_path).resources
