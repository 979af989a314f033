"""The configuration file: what it may say, and how it tells what is wrong."""

from pathlib import Path

import pytest

from taskgate.gateway.config import Config, ConfigErrors, load_config, parse_config
from taskgate.model.resource import SecretRef

FILE = Path("/etc/taskgate/gate.yaml")
THREE_LINES = """\
state_dir: /var/lib/taskgate
policy: policy
public_url: https://gate.example.com:8443
"""


def parsed(text: str) -> Config:
    return parse_config(text, FILE)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parsed(text)
    return [error.message for error in caught.value.errors]


def test_three_lines_are_enough() -> None:
    config = parsed(THREE_LINES)
    assert config.store_url == "sqlite+aiosqlite:////var/lib/taskgate/taskgate.db"
    assert config.audit_dir == Path("/var/lib/taskgate/recordings")
    assert config.audit.durability == "process"
    assert config.master_key_ref == SecretRef("file", "/var/lib/taskgate/master.key")
    assert (config.postgres.address, config.postgres.port) == ("127.0.0.1", 6432)
    assert (config.api.address, config.api.port) == ("127.0.0.1", 8443)
    assert config.postgres.tls == config.api.tls == "auto"
    assert not config.postgres.plaintext
    assert config.drain_s == 30


def test_paths_count_from_the_files_folder() -> None:
    config = parsed("state_dir: ../state\npolicy: policy\n")
    assert config.policy == Path("/etc/taskgate/policy")
    assert config.state_dir == Path("/etc/taskgate/../state")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ["gate.yaml:1: expected keys and values at the top"]),
        ("- a\n", ["gate.yaml:1: expected keys and values at the top"]),
        ("policy: x\n", ["gate.yaml:1: state_dir is missing"]),
        (
            "state_dir: s\npolcy: x\n",
            ["gate.yaml:2: unknown key polcy; did you mean policy?"],
        ),
        (
            "state_dir: s\npostgres:\n  port: 1\n  adress: x\n",
            ["gate.yaml:4: unknown key postgres.adress; did you mean address?"],
        ),
        (
            "state_dir: s\nlog:\n  colour: x\n",
            ["gate.yaml:3: unknown key log.colour; known here: format, level"],
        ),
        ("state_dir: s\nstate_dir: t\n", ["gate.yaml:2: the key state_dir is given twice"]),
        ("a: &x 1\nb: *x\n", ["gate.yaml:1: aliases (*name) are not taken here"]),
        ("<<: {a: 1}\n", ["gate.yaml:1: merge keys (<<) are not taken here"]),
        (
            "state_dir: s\npostgres:\n  port: '6432'\n",
            ["gate.yaml:3: postgres.port: Input should be a valid integer"],
        ),
        (
            "state_dir: s\napi:\n  tls: none\n",
            ["gate.yaml:3: api.tls: write auto, or {cert: FILE, key: FILE}"],
        ),
        ("state_dir: s\napi:\n  tls: {cert: a}\n", ["gate.yaml:3: api.tls.key is missing"]),
        (
            "state_dir: s\nmaster_key: hunter2\n",
            ["gate.yaml:2: master_key: expected keys and values (env, file)"],
        ),
        (
            "state_dir: s\nmaster_key: {env: A, file: b}\n",
            ["gate.yaml:2: master_key: say either env: NAME or file: PATH"],
        ),
        (
            "state_dir: s\naudit: {durability: maybe}\n",
            ["gate.yaml:2: audit.durability: Input should be 'process' or 'disk'"],
        ),
        (
            "state_dir: s\npublic_url: gate.example.com\n",
            [
                "gate.yaml:2: public_url: write the whole address, such as"
                " https://gate.example.com:8443"
            ],
        ),
        ("state_dir: s\nwhat: 1\nhow: 2\n", None),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(text: str, wanted: list[str] | None) -> None:
    found = problems(text)
    if wanted is None:
        assert len(found) == 2
        return
    assert found == [f"/etc/taskgate/{one}" for one in wanted]


@pytest.mark.parametrize(
    "text",
    [
        "state_dir: s\nstore: {url: 'postgresql+asyncpg://tg:hunter2@db/tg'}\n",
        "state_dir: s\nstore: {url: 'postgresql+asyncpg://tg@db/tg?password=hunter2'}\n",
        "state_dir: s\nmaster_key: hunter2\n",
        "state_dir: s\nstore: {url: 'sqlite+aiosqlite:////x', password: hunter2}\n",
        "state_dir: s\npublic_url: https://tg:hunter2@gate.example.com\n",
        "state_dir: s\napi: {key: hunter2}\n",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    assert "hunter2" not in "\n".join(problems(text))


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "gate.example.com"])
def test_the_api_speaks_plain_http_on_loopback_alone(address: str) -> None:
    text = f"state_dir: s\napi: {{address: '{address}', plaintext: true}}\n"
    assert "loopback" in problems(text)[0]
    assert parsed("state_dir: s\napi: {plaintext: true}\n").api.plaintext


def test_clients_are_told_where_to_go() -> None:
    config = parsed("state_dir: s\n")
    assert config.base_url(8443) == "https://localhost:8443"
    assert config.endpoint(config.postgres, 6432) == ("localhost", 6432)
    config = parsed("state_dir: s\npublic_url: https://gate.example.com/\n")
    assert config.base_url(8443) == "https://gate.example.com"
    text = "state_dir: s\npublic_url: https://gate.example.com\npostgres: {address: 0.0.0.0}\n"
    assert parsed(text).endpoint(parsed(text).postgres, 6432) == ("gate.example.com", 6432)
    config = parsed("state_dir: s\npostgres: {advertise: 'pg.example.com:5432'}\n")
    assert config.endpoint(config.postgres, 6432) == ("pg.example.com", 5432)
    assert {"localhost", "127.0.0.1", "pg.example.com"} <= set(config.host_names)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="cannot read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "raw.yaml").write_bytes(b"state_dir: \xff\n")
    with pytest.raises(ConfigErrors, match="UTF-8"):
        load_config(tmp_path / "raw.yaml")
    (tmp_path / "big.yaml").write_text("a" * (1024 * 1024 + 1))
    with pytest.raises(ConfigErrors, match="larger"):
        load_config(tmp_path / "big.yaml")


def test_the_example_of_the_operating_guide_is_good() -> None:
    guide = Path(__file__).parents[2] / "docs" / "operating.md"
    blocks = guide.read_text(encoding="utf-8").split("```yaml\n")[1:]
    texts = [block.split("```")[0] for block in blocks]
    configs = [parsed(text) for text in texts if "state_dir:" in text]
    assert len(configs) >= 2
    whole = max(configs, key=lambda config: len(config.model_fields_set))
    assert whole.model_fields_set == set(Config.model_fields), "every key is shown once"
