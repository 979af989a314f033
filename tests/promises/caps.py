"""Which test goes up to which cap of `taskgate.model.limits`, read from the tests' own marks."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LIMITS = ROOT / "src/taskgate/model/limits.py"


def names() -> tuple[str, ...]:
    """All caps, in the order of their file."""
    found = re.findall(r"^([A-Z][A-Z0-9_]+) = ", _LIMITS.read_text(), re.MULTILINE)
    return tuple(name for name in found if name not in ("KIB", "MIB"))


def marked() -> Mapping[str, tuple[str, ...]]:
    """The node ids of the tests with `@pytest.mark.cap("NAME", ...)`, by name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        file = str(path.relative_to(ROOT))
        for node in tree.body:
            inner = node.body if isinstance(node, ast.ClassDef) else [node]
            within = f"{file}::{node.name}" if isinstance(node, ast.ClassDef) else file
            for one in inner:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                    for name in _marks(one):
                        found[name].append(f"{within}::{one.name}")
    return {name: tuple(tests) for name, tests in found.items()}


def _marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.cap":
            for argument in decorator.args:
                yield ast.literal_eval(argument)


def lift(name: str, source: str, factor: str) -> str:
    """`source` with each use of the cap changed by `factor` ("* 1000"); its definition, and what
    only says its number, stay as they are."""
    places = []
    for node in _outside_of_texts(ast.parse(source)):
        whole = isinstance(node, ast.Name) and node.id == name
        part = (
            isinstance(node, ast.Attribute)
            and node.attr == name
            and isinstance(node.value, ast.Name)
            and node.value.id == "limits"
        )
        if (whole or part) and isinstance(node, ast.Name | ast.Attribute):
            assert node.end_col_offset is not None
            places.append((node.lineno, node.col_offset, node.end_col_offset))
    lines = source.encode().split(b"\n")
    for line, start, end in sorted(places, reverse=True):
        text = lines[line - 1]
        use = text[start:end]
        lines[line - 1] = text[:start] + b"(" + use + f" {factor})".encode() + text[end:]
    return b"\n".join(lines).decode()


def _outside_of_texts(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.JoinedStr):
            yield from _outside_of_texts(child)
