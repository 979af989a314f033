"""Writes in disguise, and what a write gives back.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import SECRET, Live

# None of these may change anything, or show what is hidden: the task reads app.orders only.
DISGUISED = [
    "WITH d AS (DELETE FROM app.orders RETURNING *) SELECT * FROM d",
    "WITH d AS MATERIALIZED (UPDATE app.orders SET note = 'x' RETURNING *) SELECT count(*) FROM d",
    "WITH a AS (SELECT 1), b AS (INSERT INTO app.orders VALUES (99, 'x', 'x')) SELECT * FROM a",
    "SELECT * FROM app.orders WHERE id IN (WITH d AS (DELETE FROM app.orders RETURNING id)"
    " SELECT id FROM d)",
    "EXPLAIN ANALYZE DELETE FROM app.orders",
    "EXPLAIN (ANALYZE) UPDATE app.orders SET note = 'x'",
    "EXPLAIN (ANALYZE true, COSTS false) INSERT INTO app.orders VALUES (99, 'x', 'x')",
    "explain analyse verbose delete from app.orders",
    "EXPLAIN (VERBOSE, ANALYZE 1) MERGE INTO app.orders o USING (SELECT 1 AS i) s ON o.id = s.i"
    " WHEN MATCHED THEN DELETE",
    "EXPLAIN (ANALYZE) CREATE TABLE lab.x AS SELECT 1",
    "COPY (DELETE FROM app.orders RETURNING *) TO STDOUT",
    "COPY (UPDATE app.orders SET note = 'x' RETURNING note) TO STDOUT (FORMAT csv)",
    "COPY app.orders FROM STDIN",
    "COPY app.orders FROM PROGRAM 'echo'",
    "COPY app.orders TO PROGRAM 'cat > /tmp/x'",
    "SELECT * INTO lab.x FROM app.orders",
    "SELECT * INTO TEMP x FROM app.orders",
    "CREATE TABLE lab.x AS TABLE app.orders",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE VIEW lab.x AS SELECT * FROM app.orders",
    "CREATE MATERIALIZED VIEW lab.x AS SELECT * FROM app.orders",
    "MERGE INTO app.orders o USING (VALUES (1)) v(i) ON o.id = v.i WHEN MATCHED THEN DELETE",
    "MERGE INTO app.orders o USING (VALUES (99)) v(i) ON o.id = v.i"
    " WHEN NOT MATCHED THEN INSERT VALUES (v.i, 'x', 'x')",
    "INSERT INTO app.orders VALUES (1, 'x', 'x') ON CONFLICT (id) DO UPDATE SET note = 'x'",
    "DO $$ BEGIN DELETE FROM app.orders; END $$",
    "DO LANGUAGE plpgsql 'BEGIN DELETE FROM app.orders; END'",
    "CALL app.nothing()",
    "PREPARE x AS DELETE FROM app.orders",
    "PREPARE x(int) AS UPDATE app.orders SET note = 'x' WHERE id = $1",
    "DECLARE c CURSOR FOR SELECT * FROM hidden.orders",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM hidden.orders",
    "SELECT * FROM app.orders FOR UPDATE",
    "SELECT * FROM app.orders FOR NO KEY UPDATE OF orders SKIP LOCKED",
    "SELECT * FROM app.orders FOR KEY SHARE",
    "LOCK TABLE app.orders IN ACCESS EXCLUSIVE MODE",
    "TRUNCATE app.orders",
    "CREATE FUNCTION lab.f() RETURNS int LANGUAGE sql AS 'DELETE FROM app.orders RETURNING id'",
    "CREATE RULE r AS ON SELECT TO app.orders DO INSTEAD SELECT * FROM hidden.orders",
    "CREATE RULE r AS ON INSERT TO app.orders DO ALSO DELETE FROM app.orders",
    "CREATE TRIGGER t BEFORE INSERT ON app.orders EXECUTE FUNCTION app.on_job()",
    "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION app.on_job()",
    "ALTER TABLE app.orders RENAME TO other",
    "ALTER TABLE hidden.orders SET SCHEMA app",
    "ALTER TABLE IF EXISTS app.orders ADD COLUMN x int",
    "DROP TABLE app.orders",
    "DROP SCHEMA app CASCADE",
    "DROP OWNED BY CURRENT_USER",
    "REINDEX TABLE app.orders",
    "VACUUM app.orders",
    "ANALYZE app.orders",
    "CLUSTER app.orders USING orders_pkey",
    "COMMENT ON TABLE app.orders IS 'x'",
    "SECURITY LABEL ON TABLE app.orders IS 'x'",
    "GRANT ALL ON app.orders TO PUBLIC",
    "REVOKE ALL ON app.orders FROM CURRENT_USER",
    "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
    "ALTER ROLE CURRENT_USER SET search_path = hidden",
    "ALTER DATABASE postgres SET search_path = hidden",
    "ALTER SYSTEM SET log_statement = 'none'",
    "CREATE ROLE intruder SUPERUSER",
    "SET ROLE pg_read_all_data",
    "SET SESSION AUTHORIZATION pg_read_all_data",
    "SET LOCAL ROLE pg_read_all_data",
    "SET SESSION ROLE = 'pg_read_all_data'",
    'SET "role" TO pg_read_all_data',
    "SET standard_conforming_strings = off",
    "SET client_encoding = 'SJIS'",
    "SET NAMES 'BIG5'",
    "SET session_replication_role = replica",
    "SET row_security = off",
    "SET allow_system_table_mods = on",
    "SET log_statement = 'none'",
    "SET backslash_quote = on",
    "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
    "SELECT set_config('standard_conforming_strings', 'off', false)",
    "SELECT set_config(n, 'off', false) FROM (VALUES ('standard_conforming_strings')) v(n)",
    "SELECT set_config('ro' || 'le', 'pg_read_all_data', false)",
    "SELECT pg_catalog.set_config(setting_name => 'role', new_value => 'x', is_local => false)",
    "LOAD 'auto_explain'",
    "DISCARD ALL",
    "CHECKPOINT",
    "LISTEN something",
    "NOTIFY something, 'x'",
    "SELECT pg_notify('something', 'x')",
    "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'x'",
    "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO lab",
    "CREATE EXTENSION dblink",
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p",
    "SELECT nextval('app.orders_id_seq')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_sleep(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/x')",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_stat_file('postgresql.conf')",
    "SELECT query_to_xml('DELETE FROM app.orders', true, true, '')",
    "SELECT query_to_xml_and_xmlschema('TABLE hidden.orders', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(note) FROM hidden.orders')",
    "SELECT ts_rewrite('a', 'SELECT ''a''::tsquery, note::tsquery FROM hidden.orders')",
    "SELECT * FROM pg_logical_slot_peek_changes('x', NULL, NULL)",
    "SELECT pg_create_logical_replication_slot('x', 'test_decoding')",
    "SELECT pg_export_snapshot()",
    "SELECT pg_switch_wal()",
    "SELECT app.label(1)",
    "SELECT * FROM app.label(1)",
    "SELECT 1 FROM hidden.orders",
    "SELECT (SELECT note FROM hidden.orders LIMIT 1)",
    "SELECT * FROM app.orders, hidden.orders",
    "SELECT * FROM ONLY (hidden.orders)",
    "SELECT * FROM (hidden.orders CROSS JOIN app.orders)",
    'SELECT * FROM "hidden"."orders"',
    'SELECT * FROM U&"hidd\\0065n".orders',
    "SELECT * FROM hidden . /* x */ orders",
    "SELECT * FROM hidden.orders -- \r\nLIMIT 1",
    "SELECT /* /* nested */ */ note FROM hidden.orders",
    "SELECT $q$ ' $q$, note FROM hidden.orders",
    "SELECT E'\\'', note FROM hidden.orders --'",
    "TABLE hidden.orders",
    "SELECT 1 WHERE EXISTS (TABLE hidden.orders)",
    "WITH orders AS (SELECT 1 AS id) SELECT * FROM hidden.orders",
    "SELECT o FROM app.orders o WHERE o.id = (SELECT max(id) FROM hidden.orders)",
    "SELECT 1; SELECT * FROM hidden.orders",
    "SELECT 1; DELETE FROM app.orders; SELECT 2",
    "BEGIN; SELECT 1; DELETE FROM app.orders; COMMIT",
    "SET search_path = hidden; SELECT * FROM orders",
    "SET search_path = app; SELECT * FROM orders; SET search_path = hidden; SELECT * FROM orders",
    "BEGIN; SET LOCAL search_path = hidden; SELECT note FROM orders; COMMIT",
    "SELECT set_config('search_path', 'hidden', false); SELECT note FROM orders",
    "SELECT * FROM app.orders\\; DELETE FROM app.orders",
    "SELECT relname FROM pg_class",
    "SELECT * FROM information_schema.tables",
    "SELECT rolpassword FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stats",
    "SELECT * FROM pg_largeobject",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_show_all_settings()",
    "SHOW data_directory",
    "SHOW ALL",
    "SHOW hba_file",
    "SELECT current_setting('hba_file')",
]


@pytest.mark.parametrize("text", DISGUISED)
def test_what_the_task_does_not_permit_is_refused_whatever_it_looks_like(
    live: Live, text: str
) -> None:
    mark = live.setting.server.log_size()
    with live.session("narrow") as s:
        s.ask(text)
        s.run(text)
        assert SECRET not in s.seen
        assert set(s.states) <= {"42501", "42601"}, s.errors
        assert len(s.states) == 2
        if "orders" not in text or ";" not in text:
            assert not s.rows()
    log = live.setting.server.log_since(mark)
    assert text.split("\r", maxsplit=1)[0] not in log.replace("E'", "'")


def test_nothing_of_all_this_has_happened(live: Live) -> None:
    assert live.behind("SELECT count(*) FROM app.orders WHERE note LIKE 'open-%'") == "6"
    assert live.behind("SELECT to_regclass('lab.x') IS NULL") == "t"
    assert live.behind("SELECT count(*) FROM pg_roles WHERE rolname = 'intruder'") == "0"


# What a write gives back is masked as what a read shows.
RETURNED = [
    "UPDATE app.people SET region = region RETURNING email",
    "UPDATE app.people SET region = region RETURNING *",
    "UPDATE app.people p SET region = region RETURNING p",
    "UPDATE app.people p SET region = region RETURNING p.email || '', to_jsonb(p), p::text",
    "UPDATE app.people SET region = region FROM app.people q WHERE q.id = people.id"
    " RETURNING q.email, q",
    "WITH u AS (UPDATE app.people SET region = region RETURNING *) SELECT email, u FROM u",
    "WITH u AS (UPDATE app.people SET region = region RETURNING email AS region)"
    " SELECT region || '' FROM u",
    "DELETE FROM app.people WHERE id = 1 RETURNING email",
    "DELETE FROM app.people p USING app.people q WHERE p.id = q.id AND q.id = 1 RETURNING q.*, p",
    "INSERT INTO app.people SELECT * FROM app.people WHERE id = 1 ON CONFLICT (id)"
    " DO UPDATE SET region = people.region RETURNING email",
    "INSERT INTO app.people (id, email, region, notes, born) SELECT id + 100, email, region, '',"
    " born FROM app.people RETURNING email || ''",
    "COPY (UPDATE app.people SET region = region RETURNING *) TO STDOUT",
    "EXPLAIN (ANALYZE, VERBOSE) UPDATE app.people SET region = region RETURNING email",
    "MERGE INTO app.people p USING app.people q ON p.id = q.id AND q.id = 1"
    " WHEN MATCHED THEN UPDATE SET region = q.region",
]
RETURNED_BY_NEWER = {
    "MERGE INTO app.people p USING app.people q ON p.id = q.id"
    " WHEN MATCHED THEN UPDATE SET region = q.region RETURNING merge_action(), p.email, q.*, q": 17,
    "UPDATE app.people SET region = region RETURNING old.email, new.email, old, new, old.*": 18,
    "UPDATE app.people SET region = region RETURNING WITH (OLD AS o, NEW AS n)"
    " o.email || '', to_jsonb(n), o.region, n": 18,
    "DELETE FROM app.people WHERE id = 1 RETURNING WITH (OLD AS app) app.email, (app).email": 18,
    "MERGE INTO app.people p USING app.people q ON p.id = q.id"
    " WHEN MATCHED THEN UPDATE SET region = q.region RETURNING old.email, new.*, q.email": 18,
}


@pytest.mark.parametrize("text", [*RETURNED, *RETURNED_BY_NEWER])
def test_what_a_write_returns_is_masked(live: Live, text: str) -> None:
    if live.major < RETURNED_BY_NEWER.get(text, 0):
        pytest.skip("this server's grammar does not know it")
    with live.session("editor") as s:
        for _ in range(2):
            s.ask("BEGIN")
            s.ask(text)
            s.ask("ROLLBACK")
            s.ask("BEGIN")
            s.run(text)
            s.ask("ROLLBACK")
        assert SECRET not in s.seen


# A masked value must not be moved to where no mask reaches it.
MOVED = [
    "UPDATE app.people SET notes = email",
    "UPDATE app.people SET notes = email || ''",
    "UPDATE app.people SET (notes, region) = (email, region)",
    "UPDATE app.people p SET notes = (SELECT email FROM app.people q WHERE q.id = p.id)",
    "UPDATE app.people p SET notes = p::text",
    "UPDATE app.people p SET notes = q.email FROM app.people q WHERE q.id = p.id",
    "INSERT INTO lab.notes SELECT id, email FROM app.people",
    "INSERT INTO lab.notes SELECT id, p::text FROM app.people p",
    "INSERT INTO lab.notes (body) VALUES ((SELECT min(email) FROM app.people))",
    "INSERT INTO app.people (id, email, region, notes, born) SELECT id + 100, '', '', email, born"
    " FROM app.people",
    "INSERT INTO app.people SELECT * FROM app.people WHERE id = 1 ON CONFLICT (id)"
    " DO UPDATE SET notes = excluded.email",
    "INSERT INTO app.people SELECT * FROM app.people WHERE id = 1 ON CONFLICT (id)"
    " DO UPDATE SET notes = people.email",
    "MERGE INTO lab.notes n USING app.people p ON n.id = p.id"
    " WHEN NOT MATCHED THEN INSERT VALUES (p.id, p.email)",
    "MERGE INTO app.people t USING app.people p ON t.id = p.id"
    " WHEN MATCHED THEN UPDATE SET notes = p.email",
    "WITH m AS (SELECT email AS e FROM app.people) INSERT INTO lab.notes SELECT 1, e FROM m",
    "WITH m AS (UPDATE app.people SET region = region RETURNING email)"
    " INSERT INTO lab.notes SELECT 1, email FROM m",
    "WITH m AS (DELETE FROM app.people RETURNING *) INSERT INTO lab.notes SELECT id, email FROM m",
    "UPDATE lab.notes SET body = email FROM app.people",
    "INSERT INTO lab.notes SELECT length(email), '' FROM app.people",
    "INSERT INTO lab.notes SELECT 1 FROM app.people WHERE email LIKE 'zz%'",
    "DELETE FROM lab.notes USING app.people WHERE email LIKE 'zz%'",
    "UPDATE lab.notes SET body = 'x' WHERE EXISTS (SELECT FROM app.people WHERE email > 'm')",
    "CREATE TABLE lab.moved AS SELECT email FROM app.people",
    "SELECT email INTO lab.moved FROM app.people",
    "CREATE VIEW lab.moved AS SELECT email FROM app.people",
    "ALTER TABLE app.people RENAME email TO mail",
    "SELECT set_config('app.x', min(email), false) FROM app.people",
    "SELECT pg_notify('x', email) FROM app.people",
    "COPY lab.notes FROM STDIN WHERE body = (SELECT min(email) FROM app.people)",
]


@pytest.mark.parametrize("text", MOVED)
def test_a_masked_value_is_not_moved_to_where_no_mask_is(live: Live, text: str) -> None:
    with live.session("editor") as s:
        s.ask(text)
        s.run(text)
        assert s.states == ["42501", "42501"] or "COPY" in text, s.errors
        assert SECRET not in s.seen


def test_no_masked_value_was_moved(live: Live) -> None:
    assert live.behind("SELECT count(*) FROM lab.notes WHERE body ~ 'zz'") == "0"
    assert live.behind("SELECT count(*) FROM app.people WHERE notes ~ 'zz'") == "0"
