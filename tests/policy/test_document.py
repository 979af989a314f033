import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.errors import BadConfig
from taskgate.model.limits import MAX_POLICY_DEPTH, MAX_POLICY_FILE_BYTES
from taskgate.policy.document import parse_documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -12", {"a": -12}),
        ("a: 1.5", {"a": 1.5}),
        ("a: true", {"a": True}),
        ("a: False", {"a": False}),
        ("a: null", {"a": None}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 'null'", {"a": "null"}),
        ('a: "1"', {"a": "1"}),
        # What YAML 1.1 would make of these is nobody's meaning.
        ("a: no", {"a": "no"}),
        ("on: off", {"on": "off"}),
        ("a: yes", {"a": "yes"}),
        ("a: 22:00", {"a": "22:00"}),
        ("a: 22:00:00", {"a": "22:00:00"}),
        ("a: 010", {"a": "010"}),
        ("a: 0o10", {"a": "0o10"}),
        ("a: 0x10", {"a": "0x10"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 1e3", {"a": "1e3"}),
        ("a: .inf", {"a": ".inf"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: " + "9" * 30, {"a": "9" * 30}),
        ("a: [b, {c: d}]", {"a": ["b", {"c": "d"}]}),
        ("- x\n- y", ["x", "y"]),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("1: x", {"1": "x"}),
        ("true: x", {"true": "x"}),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    (document,) = parse_documents(text, "f.yaml")
    assert document.value == value
    assert repr(document.value) == repr(value)


def test_many_documents_and_empty_ones() -> None:
    documents = parse_documents("# nothing\n---\na: 1\n---\n---\n~\n---\nb: 2\n...\n", "f.yaml")
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}]
    assert [document.where() for document in documents] == ["f.yaml:3", "f.yaml:8"]
    assert parse_documents("", "f.yaml") == ()


def test_every_key_and_item_has_its_line() -> None:
    text = "a:\n  - b: 1\n    c: 2\n  - x\nd: {e: 3,\n    f: 4}\n"
    (document,) = parse_documents(text, "f.yaml")
    where = {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 0, "b"): 2,
        ("a", 0, "c"): 3,
        ("a", 1): 4,
        ("d",): 5,
        ("d", "f"): 6,
        ("d", "f", "deeper", 3): 6,
        ("unknown",): 1,
    }
    for path, line in where.items():
        assert document.where(path) == f"f.yaml:{line}", path


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' stands twice, first in line 1"),
        ("a: {b: 1, b: 2}", 1, "stands twice"),
        ("a: &x 1\nb: *x", 1, "an anchor (&x)"),
        ("a: *x", 1, "alias"),
        ("<<: {a: 1}", 1, "a merge key"),
        ("a: !!int 1", 1, "a tag"),
        ("a: !!python/object/apply:os.system [x]", 1, "a tag"),
        ("%YAML 1.1\n---\na: 1", 1, "directive"),
        ("[a]: 1", 1, "a key is a word"),
        ("{a: 1}: 2", 1, "a key is a word"),
        ("? [a]\n: 1", 1, "a key is a word"),
        ("a: [", 1, "not YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: [*]", 1, "not YAML"),
        ("a: @catalog", 1, "not YAML"),
        ("a: {b: *, c: 1}", 1, "not YAML"),
        ("a:" + " [" * 20 + "]" * 20, 1, "nested deeper"),
        ("a: \x00", 1, "not YAML"),
    ],
)
def test_what_is_refused_and_where(text: str, line: int, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_documents(text, "f.yaml")
    assert said in caught.value.message
    assert caught.value.where in (f"f.yaml:{line}", "f.yaml")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("a: [*]", '"*"'), ("a: @catalog", '"@catalog"'), ("a: 1\n\tb: 2", "spaces")],
)
def test_common_slips_get_a_hint(text: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_documents(text, "f.yaml")
    assert hint in caught.value.hint


def test_aliases_cannot_multiply() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    with pytest.raises(BadConfig, match="anchor"):
        parse_documents(bomb, "f.yaml")


@pytest.mark.cap("MAX_POLICY_FILE_BYTES", "MAX_POLICY_DEPTH")
def test_size_and_depth_are_capped() -> None:
    assert parse_documents("a: b\n".ljust(MAX_POLICY_FILE_BYTES), "f.yaml")
    with pytest.raises(BadConfig, match="larger than"):
        parse_documents("a: b\n".ljust(MAX_POLICY_FILE_BYTES + 1), "f.yaml")

    def nested(levels: int) -> str:
        return "a: " + "[" * (levels - 1) + "]" * (levels - 1) + "\n"

    assert parse_documents(nested(MAX_POLICY_DEPTH), "f.yaml")
    with pytest.raises(BadConfig, match="deeper"):
        parse_documents(nested(MAX_POLICY_DEPTH + 1), "f.yaml")
    with pytest.raises(BadConfig, match="deeper"):
        parse_documents("[" * 50_000, "f.yaml")


@given(st.text(alphabet="ab:-{}[],&*!|>'\"#%@`? \n\t~<0", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    where = "f.yaml"
    try:
        documents = parse_documents(text, "f.yaml")
    except BadConfig as error:
        documents, where = (), error.where
    assert where.startswith("f.yaml")
    assert all(document.value is not None for document in documents)
