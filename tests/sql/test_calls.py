"""Functions, operators, casts and settings: what they are judged as."""

# ruff: noqa: E501 - one case a line, read as a table

import pytest

from taskgate.sql.facts import StatementFacts
from taskgate.sql.known import metadata_relations, safe_functions, safe_settings
from tests.sql.world import facts_of, said


def _builtins(facts: StatementFacts) -> list[str]:
    return sorted(a.object for a in facts.actions if a.kind == "builtin")


SAFE = [
    ("select lower('x')", ["pg_catalog.lower"]),
    ("select pg_catalog.lower('x')", ["pg_catalog.lower"]),
    ("select now(), count(*)", ["pg_catalog.count", "pg_catalog.now"]),
    ("select extract(year from now())", ["pg_catalog.extract", "pg_catalog.now"]),
    ("select substring('x' from 1), trim('x')", ["pg_catalog.btrim", "pg_catalog.substring"]),
    ("select 'x' like 'y' escape 'z'", ["pg_catalog.like_escape"]),
    ("select now() at time zone 'x'", ["pg_catalog.now", "pg_catalog.timezone"]),
    ("select format_type(1, 2)", ["pg_catalog.format_type"]),
    ("select pg_advisory_unlock_all()", ["pg_catalog.pg_advisory_unlock_all"]),
]


@pytest.mark.parametrize(("text", "names"), SAFE, ids=[c[0] for c in SAFE])
def test_safe_functions_are_built_in(text: str, names: list[str]) -> None:
    facts = facts_of(text)
    assert _builtins(facts) == names
    assert said(facts) == []
    assert not facts.opaque


CALLS = [
    ("select app.get_email(1)", ["call app.get_email [function]"]),
    ("select shout('x')", ["call public.shout [function]"]),
    ("select nosuch(1)", ["call ?.nosuch [function]"]),
    ("select app.nosuch(1)", ["call app.nosuch [function]"]),
    ("select pg_read_file('x')", ["call pg_catalog.pg_read_file [function]"]),
    ("select pg_catalog.pg_sleep(1)", ["call pg_catalog.pg_sleep [function]"]),
    ("select lo_export(1, 'x')", ["call pg_catalog.lo_export [function]"]),
    ("select query_to_xml('delete from t', true, true, '')", ["call pg_catalog.query_to_xml [function]"]),
    ("select * from ts_stat('select 1')", ["call pg_catalog.ts_stat [function]"]),
    ("select dblink_exec('x', 'y')", ["call ?.dblink_exec [function]"]),
    ("select nextval('app.seq'), currval('app.seq')", ["call pg_catalog.currval [function]", "call pg_catalog.nextval [function]"]),
    ("select pg_terminate_backend(1)", ["call pg_catalog.pg_terminate_backend [function]"]),
    ("select * from app.rows(1)", ["call app.rows [function]"]),
    ("select 1 where app.same('a', 'b')", ["call app.same [function]"]),
    ("select 1 from t order by shout(b)", ["call public.shout [function]", "select public.t(b) ?b"]),
    ("select 1 limit app.get_email(1)", ["call app.get_email [function]"]),
    ("values (app.get_email(1))", ["call app.get_email [function]"]),
    ("insert into t values (app.get_email(1))", ["call app.get_email [function]", "insert public.t(a)"]),
    ("execute nosuch(app.get_email(1))", ["call app.get_email [function]", "execute ?.nosuch [statement]"]),
    # By other notations.
    ("select t.shout from t", ["call public.shout [function]", "select public.t(a b c) ?a b c"]),
    ("select (t).shout from t", ["call public.shout [function]", "select public.t(a b c) ?a b c"]),
    ("select (row(1)).shout", ["call public.shout [function]"]),
    ("select b === 'x' from t", ["call app.same [function]", "select public.t(b) ?b"]),
    ("select b operator(public.===) 'x' from t", ["call app.same [function]", "select public.t(b) ?b"]),
    ("select 'x' === any (array['y'])", ["call app.same [function]"]),
    ("select 1 where 'x' === any (select b from t)", ["call app.same [function]", "select public.t(b) ?b"]),
    ("select b from t order by b using ===", ["call app.same [function]", "select public.t(b) ?b"]),
    ("select max(b order by b using ===) from t", ["call app.same [function]", "select public.t(b)"]),
    ("select '(1,2)'::app.pair", ["call app.pair_text [function]"]),
    ("select cast(null as app.pair[])", ["call app.pair_text [function]"]),
    ("select null::app._pair", ["call app.pair_text [function]"]),
    ("select * from json_to_record('{}') as x(p app.pair)", ["call app.pair_text [function]"]),
    ("select json_value('1', '$' returning app.pair)", ["call app.pair_text [function]"]),
    ("prepare p(app.pair) as select 1", ["call app.pair_text [function]"]),
    ("select 'sad'::app.mood, 'x'::app.short, 't'::regclass, 'x'::nosuch", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "actions"), CALLS, ids=[c[0] for c in CALLS])
def test_every_other_function_is_a_call(text: str, actions: list[str]) -> None:
    facts = facts_of(text)
    assert said(facts) == actions
    if any(a.verb == "call" and a.kind == "function" for a in facts.actions):
        assert facts.opaque


def test_a_namesake_of_a_safe_function_is_called_too() -> None:
    facts = facts_of("select count('x')", path=("pg_catalog", "public", "evil"))
    assert _builtins(facts) == ["pg_catalog.count"]
    assert said(facts) == ["call evil.count [function]"]
    assert facts_of("select pg_catalog.count('x')", path=("pg_catalog", "evil")).opaque is False


def test_json_grammar_is_a_call_where_a_user_has_made_the_function() -> None:
    assert said(facts_of("select json_scalar(1)")) == []
    assert not facts_of("select json_scalar(1)").unclear


@pytest.mark.parametrize(
    ("text", "actions"),
    [
        ("set timezone = 'UTC'", ["set timezone [safe_setting]"]),
        ("set time zone local", ["set timezone [safe_setting]"]),
        ("set TimeZone to default", ["set timezone [safe_setting]"]),
        ("set local search_path = a, b", ["set search_path [safe_setting]"]),
        ("reset search_path", ["set search_path [safe_setting]"]),
        ("reset all", ["set * [safe_setting]"]),
        ("set work_mem = '1GB'", ["set work_mem [setting]"]),
        ("set row_security = off", ["set row_security [setting]"]),
        ("set session_replication_role = replica", ["set session_replication_role [setting]"]),
        ("set app.name = 'x'", ["set app.name [setting]"]),
        ("set names 'UTF8'", ["set client_encoding [safe_setting]"]),
        ("set client_encoding = 'utf-8'", ["set client_encoding [safe_setting]"]),
        ("set client_encoding = 'SQL_ASCII'", ["set client_encoding [safe_setting]"]),
        ("set standard_conforming_strings = on", ["set standard_conforming_strings [safe_setting]"]),
        ("reset client_encoding", ["set client_encoding [safe_setting]"]),
        ("set role bob", ["set_role bob [role]"]),
        ("set local role none", ["set_role none [role]"]),
        ("reset role", ["set_role none [role]"]),
        ("set session authorization default", ["set_role none [role]"]),
        ("set session authorization 'bob'", ["set_role bob [role]"]),
        ("set session characteristics as transaction read only", ["transaction set_transaction [statement]"]),
        ("show timezone", ["show timezone [safe_setting]"]),
        ("show app.secret", ["show app.secret [setting]"]),
        ("show all", ["show all [setting]"]),
        ("select current_setting('timezone')", ["show timezone [safe_setting]"]),
        ("select current_setting('app.secret', true)", ["show app.secret [setting]"]),
        ("select current_setting($1)", ["call pg_catalog.current_setting [function]"]),
        ("select set_config('timezone', 'UTC', false)", ["set timezone [safe_setting]"]),
        ("select set_config('timezone', $1, false)", ["set timezone [safe_setting]"]),
        ("select pg_catalog.set_config('search_path', '', false)", ["set search_path [safe_setting]"]),
        ("select set_config('role', 'bob', false)", ["set_role bob [role]"]),
        ("select set_config('ROLE', $1, false)", ["set_role ? [role]"]),
        (
            "select set_config(name, 'x', false) from pg_settings where name = 'jit'",
            ["select pg_catalog.pg_settings(name) [metadata] ?name", "set jit [safe_setting]"],
        ),
        ("select pg_notify('ch', 'x')", ["notify ch [channel]"]),
        ("select pg_notify($1, 'x')", ["call pg_catalog.pg_notify [function]"]),
    ],
)  # fmt: skip
def test_settings(text: str, actions: list[str]) -> None:
    facts = facts_of(text)
    assert said(facts) == actions
    assert not facts.unclear


@pytest.mark.parametrize(
    "text",
    [
        "set client_encoding = 'sjis'",
        "set names 'latin1'",
        "set names default; set client_encoding = gbk",
        "set standard_conforming_strings = off",
        "select set_config('client_encoding', 'big5', false)",
        "select set_config('CLIENT_ENCODING', $1, false)",
        "select set_config('standard_conforming_strings', 'off', true)",
        "select set_config($1, $2, false)",
        "select set_config('client' || '_encoding', 'sjis', false)",
        "select set_config(setting_name := 'client_encoding', new_value := 'x', is_local := false)",
        "select set_config(name, 'x', false) from pg_settings where name = 'jit' or true",
        "select set_config(name, 'x', false) from pg_settings where name <> 'jit'",
        "select set_config(name, 'x', false) from t pg_settings where name = 'jit'",
    ],
)
def test_what_would_change_how_sql_is_read_is_never_permitted(text: str) -> None:
    facts = facts_of(text)
    assert any(not a.complete for a in facts.actions)
    assert facts.unclear


def test_settings_are_told_as_effects() -> None:
    assert facts_of("set TimeZone = 'UTC'").effects.settings == (("timezone", "UTC"),)
    assert facts_of("set search_path = a, b").effects.settings == (("search_path", "a, b"),)
    assert facts_of("reset all").effects.settings == (("*", None),)
    assert facts_of("reset jit").effects.settings == (("jit", None),)


DANGEROUS = [
    "pg_read_file",
    "pg_read_binary_file",
    "pg_ls_dir",
    "pg_stat_file",
    "lo_import",
    "lo_export",
    "lo_get",
    "lo_put",
    "lo_create",
    "lo_from_bytea",
    "loread",
    "lowrite",
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "schema_to_xml",
    "database_to_xml",
    "cursor_to_xml",
    "ts_stat",
    "ts_rewrite",
    "set_config",
    "current_setting",
    "pg_notify",
    "nextval",
    "setval",
    "currval",
    "lastval",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_advisory_lock",
    "pg_try_advisory_lock",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_promote",
    "pg_switch_wal",
    "pg_create_restore_point",
    "pg_export_snapshot",
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_lock_status",
    "pg_show_all_settings",
    "pg_hba_file_rules",
    "pg_show_all_file_settings",
    "pg_mcv_list_items",
    "pg_logical_emit_message",
    "pg_logical_slot_get_changes",
    "pg_replication_origin_create",
    "pg_import_system_collations",
    "pg_stat_reset",
    "pg_log_backend_memory_contexts",
    "pg_current_logfile",
    "pg_config",
    "pg_prepared_statement",
    "pg_cursor",
    "pg_sequence_last_value",
    "pg_get_sequence_data",
    "brin_summarize_new_values",
    "gin_clean_pending_list",
    "binary_upgrade_create_empty_extension",
    "inet_server_addr",
    "pg_restore_relation_stats",
    "pg_clear_attribute_stats",
    "currtid2",
    "pg_ls_waldir",
    "pg_backup_start",
]


@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous_functions_are_not_on_the_safe_list(name: str) -> None:
    assert name not in safe_functions()


def test_the_lists_are_sound() -> None:
    assert len(safe_functions()) > 1_000
    assert safe_functions()["json_each"].columns == ("key", "value")
    assert safe_functions()["generate_series"].returns_set
    for name in ("row_security", "session_replication_role", "work_mem", "role"):
        assert not safe_settings()[name].may_set
    for name in ("log_statement", "local_preload_libraries", "allow_system_table_mods"):
        assert name not in safe_settings()
    for name in ("pg_stats", "pg_authid", "pg_stat_activity", "pg_user_mapping", "pg_shadow"):
        assert ("pg_catalog", name) not in metadata_relations()


def test_no_total_function_takes_its_error_from_a_later_argument() -> None:
    """`total` without a number says it of every argument: these must say how many."""
    for name in ("substr", "split_part", "lpad", "round"):
        assert safe_functions()[name].total == 1
    for name in ("chr", "repeat", "replace", "to_char", "sqrt", "json_object_agg"):
        assert safe_functions()[name].total == 0
