"""The demo's data is believable and always the same; its policy is valid and says what it shows."""

import pytest

from taskgate.demo import seed
from taskgate.demo.host import new_key, public_key
from taskgate.demo.people import PEOPLE
from taskgate.demo.shop import policy_files
from taskgate.masking.detectors import Detectors
from taskgate.policy.load import load_files
from tests.servers import Server, Servers


@pytest.mark.parametrize(
    ("column", "table", "kind"),
    [
        ("card_number", "customers", "credit_card"),
        ("national_id", "customers", "us_ssn"),
        ("email", "customers", "email"),
        ("phone", "customers", "phone"),
        ("iban", "staff", "iban"),
    ],
)
def test_every_value_is_one_that_detectors_find(
    pg18: Server, servers: Servers, column: str, table: str, kind: str
) -> None:
    with pg18.connect(servers.shop(pg18)) as connection:
        values = connection.execute(f"SELECT {column} FROM shop.{table}").fetchall()
    detectors = Detectors([kind])
    assert values
    missed = [v for (v,) in values if not detectors.find(str(v))]
    assert not missed, f"{len(missed)} of {len(values)} are no {kind}: {missed[:3]}"


def test_the_shop_is_the_same_on_every_version(pg: Server, servers: Servers) -> None:
    with pg.connect(servers.shop(pg)) as connection:
        row = connection.execute(
            "SELECT md5(string_agg(c::text, '' ORDER BY id)) FROM shop.customers AS c"
        ).fetchone()
    # Written down once; a change to the seed changes it on purpose.
    assert row == ("e0342165cd3d3ce5ae8ca7f039a74b81",)


def test_the_whole_shop_has_some_hundred_thousand_rows(pg18: Server) -> None:
    name = pg18.new_database("whole")
    pg18.run(seed.shop_sql(), database=name)
    tables = ("customers", "products", "orders", "order_items", "staff", "audit_log")
    count = " + ".join(f"(SELECT count(*) FROM shop.{table})" for table in tables)
    assert 90_000 < int(pg18.run(f"SELECT {count}", database=name)) < 120_000
    pg18.drop_database(name)


def test_notes_sometimes_hold_a_card_or_an_address(pg18: Server, servers: Servers) -> None:
    with pg18.connect(servers.shop(pg18)) as connection:
        notes = [str(n) for (n,) in connection.execute("SELECT notes FROM shop.customers")]
    cards, addresses = Detectors(["credit_card"]), Detectors(["email"])
    assert any(cards.find(note) for note in notes)
    assert any(addresses.find(note) for note in notes)
    assert notes.count("") > len(notes) / 2


def test_the_policy_is_valid_and_everybody_in_it_has_somebody() -> None:
    policy = load_files(policy_files(15432, 12222, 18000, public_key(new_key())))
    assert policy.resources["shop"].port == 15432
    assert policy.resources["web-1"].port == 12222
    groups = {group for person in PEOPLE for group in person.groups}
    for task in policy.tasks.values():
        assert task.members.groups & groups, f"nobody may take up {task.name}"
    for role in policy.roles.values():
        assert role.members.groups <= groups, f"nobody holds {role.name}"


def test_no_person_both_administers_and_audits() -> None:
    policy = load_files(policy_files(15432, 12222, 18000, public_key(new_key())))
    for person in PEOPLE:
        rights = {
            right
            for role in policy.roles.values()
            if role.members.groups & set(person.groups)
            for right in role.rights
        }
        assert not ("administer" in rights and rights & {"audit", "replay"}), person.name
