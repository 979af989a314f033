"""What a person with plain psql gets: permitted, refused, masked."""

from tests.end_to_end.conftest import Setting
from tests.recorded import contents

EMAILS = "SELECT email FROM shop.customers ORDER BY id LIMIT 5"


def test_a_permitted_select_answers_as_the_server_would(setting: Setting) -> None:
    query = "SELECT id, status, amount FROM shop.orders ORDER BY id LIMIT 20"
    done = setting.psql("report", query)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == setting.behind(query)


def test_a_refused_delete_names_its_rule_and_touches_nothing(setting: Setting) -> None:
    before = setting.behind("SELECT count(*) FROM shop.orders")
    mark = setting.server.log_size()
    done = setting.psql("report", "DELETE FROM shop.orders WHERE id = 7")
    assert done.returncode != 0
    assert "42501" in done.stderr
    assert "report/deny[0]" in done.stderr
    assert "DELETE" not in setting.server.log_since(mark)
    assert setting.behind("SELECT count(*) FROM shop.orders") == before


def test_a_masked_column_arrives_masked(setting: Setting) -> None:
    real = setting.behind(EMAILS).splitlines()
    done = setting.psql("report", EMAILS)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert len(shown) == len(real)
    assert not set(shown) & set(real)


def test_copy_is_masked_too(setting: Setting) -> None:
    real = setting.behind(EMAILS).splitlines()
    done = setting.psql("report", f"COPY ({EMAILS}) TO STDOUT")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(real)
    assert not any(one in done.stdout for one in real)


def test_a_wrong_token_learns_nothing(setting: Setting) -> None:
    wrong = setting.psql("report", "SELECT 1", token="tg_" + "x" * 40)
    nobody = setting.psql("no-such-task", "SELECT 1", token="tg_" + "x" * 40)
    assert wrong.returncode != 0
    assert "28" in wrong.stderr or "FATAL" in wrong.stderr
    assert wrong.stderr.replace("report", "?") == nobody.stderr.replace("no-such-task", "?")


def test_the_credential_of_the_server_shows_nowhere(setting: Setting) -> None:
    done = setting.psql("everything", "SELECT current_setting('is_superuser')", r"\conninfo")
    from tests.servers import PASSWORD

    assert PASSWORD not in done.stdout + done.stderr
    for path, content in contents(setting.gate.own.directory).items():
        assert PASSWORD.encode() not in content, path
