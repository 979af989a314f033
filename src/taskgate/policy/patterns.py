"""The object patterns of rules: `sales.orders`, `sales.*`, `sales.customers(id, region)`; those of
commands, paths and addresses are in `shapes`.

A pattern is matched against names as the resource resolved them, so it must say what it means:
schema and name, lower case unless quoted, no look-alike or invisible characters. Whatever could
quietly match nothing is refused when the policy is loaded.
"""

import re
import unicodedata
from dataclasses import dataclass

from taskgate.model.names import (
    NamePattern,
    PartPattern,
    parse_pattern,
    spell,
    spell_pattern,
    starred,
)
from taskgate.policy.shapes import SHAPES, PatternError
from taskgate.policy.vocabulary import ANY_VERB, NameShape, RuleVocabulary, VerbSpec, nearest

CATALOG = "@catalog"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_KIND = re.compile(r"([^\".:]*):")
_BARE = re.compile(r"[a-z0-9_$.*]*\Z")
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "FULLWIDTH")


@dataclass(frozen=True, slots=True)
class ObjectPattern:
    """What one entry of a rule's list stands for.

    `kind` narrows to one kind of object, empty for every kind. `columns` None means all of them.
    `catalog` is `@catalog`: the metadata relations, whatever their names.
    """

    text: str
    name: NamePattern
    kind: str = ""
    columns: tuple[PartPattern, ...] | None = None
    catalog: bool = False

    def covers(self, other: "ObjectPattern") -> bool:
        """Whether this one surely matches all that `other` matches, columns left aside."""
        if self.catalog or other.catalog:
            return self.catalog == other.catalog or (not self.catalog and self.name.everything)
        return self.kind in ("", other.kind) and self.name.covers(other.name)

    def covers_columns(self, other: "ObjectPattern") -> bool:
        """Whether this one's columns surely include `other`'s."""
        if self.columns is None:
            return True
        return other.columns is not None and all(
            any(mine.covers(theirs) for mine in self.columns) for theirs in other.columns
        )


def parse_object(text: str, spec: VerbSpec, vocabulary: RuleVocabulary) -> ObjectPattern:
    """One pattern as written under a verb.

    Raises: PatternError.
    """
    text = text.strip()
    if spec.shape in SHAPES:
        return ObjectPattern(text, SHAPES[spec.shape].parse(text))
    if not vocabulary.relational:
        if spec.name == ANY_VERB and text != "*":
            raise PatternError(f"{text}: any stands for every verb", 'write any: ["*"]')
        return ObjectPattern(text, _single(text))
    if text.startswith("@"):
        if text != CATALOG:
            raise PatternError(f"unknown word {text}", f"did you mean {CATALOG}?")
        if spec.name not in ("select", "any"):
            raise PatternError(
                f"{CATALOG} stands for relations to select from, not for {spec.name}"
            )
        return ObjectPattern(text, NamePattern(()), catalog=True)
    head, listed = _cut_columns(text, spec)
    kind, head = _cut_kind(head, spec, vocabulary)
    if spec.folded:
        head = head.lower()
    _check_spelling(head, vocabulary)
    name = _parse(head)
    _check_shape(head, name, kind, spec, vocabulary)
    if spec.shape is NameShape.SINGLE and name.parts:
        name = NamePattern((_join(name.parts),))
    columns = None if listed is None else _columns(listed, vocabulary)
    return ObjectPattern(text, name, kind, columns)


def parse_column(text: str, vocabulary: RuleVocabulary) -> tuple[NamePattern, PartPattern]:
    """`schema.table.column` of a mask, as (relation, column).

    Raises: PatternError.
    """
    text = text.strip()
    if not vocabulary.relational:
        raise PatternError(f"{text}: there are no columns to mask here", "mask by kinds")
    if "(" in _QUOTED.sub("", text):
        raise PatternError(
            f"{text}: a mask names each column by itself", "write schema.table.column"
        )
    _check_spelling(text, vocabulary)
    parts = _parse(text).parts
    if len(parts) != 3:
        plain = ".".join(spell_pattern(p) for p in parts)
        wanted = {
            0: "*.*.*",
            1: f"*.*.{plain}",
            2: f"{vocabulary.default_schema}.{plain} or {plain}.*",
        }.get(len(parts), "schema.table.column")
        raise PatternError(f"{text}: a masked column is schema.table.column", f"write {wanted}")
    return NamePattern(parts[:2]), parts[2]


def _single(text: str) -> NamePattern:
    """One name in which a dot parts nothing: an environment variable, a program."""
    if not text.isascii() or not text.isprintable() or any(c in text for c in " \"'()"):
        raise PatternError(f"{text}: not a plain name")
    if text == "*":
        return NamePattern(())
    try:
        return NamePattern((starred(text),))
    except ValueError as error:
        raise PatternError(str(error)) from None


def _parse(text: str) -> NamePattern:
    try:
        return parse_pattern(text)
    except ValueError as error:
        raise PatternError(str(error), 'quote as SQL does: "My Schema"."My Table"') from None


def _cut_columns(text: str, spec: VerbSpec) -> tuple[str, str | None]:
    bare = _QUOTED.sub(lambda match: "_" * len(match.group()), text)
    opening = bare.find("(")
    if opening < 0:
        if ")" in bare:
            raise PatternError(f"{text}: a ) without its (", "quote the whole pattern in YAML")
        return text, None
    if not bare.endswith(")") or bare.count("(") > 1 or bare.count(")") > 1:
        raise PatternError(
            f"{text}: the brackets do not add up",
            'quote the whole pattern in YAML: "sales.customers(id, region)"',
        )
    head = text[:opening].strip()
    if not spec.columns:
        raise PatternError(f"{text}: {spec.name} takes no columns in brackets", f"write {head}")
    return head, text[opening + 1 : -1]


def _cut_kind(text: str, spec: VerbSpec, vocabulary: RuleVocabulary) -> tuple[str, str]:
    match = _KIND.match(text)
    if match is None:
        return "", text
    if spec.shape is not NameShape.FLEXIBLE:
        rest = text[match.end() :].strip()
        raise PatternError(f"{text}: {spec.name} takes no kind before the name", f"write {rest}")
    if match.group(1) not in vocabulary.kinds:
        raise PatternError(
            f"{text}: unknown kind {match.group(1)}", nearest(match.group(1), vocabulary.kinds)
        )
    return match.group(1), text[match.end() :].strip()


def _columns(listed: str, vocabulary: RuleVocabulary) -> tuple[PartPattern, ...]:
    found: list[PartPattern] = []
    # Quoted names may hold commas.
    bare = _QUOTED.sub(lambda match: "_" * len(match.group()), listed)
    start = 0
    for end in [*(i for i, c in enumerate(bare) if c == ","), len(listed)]:
        item = listed[start:end].strip()
        start = end + 1
        if not item:
            raise PatternError("an empty column in the brackets", "name at least one column")
        _check_spelling(item, vocabulary)
        parts = _parse(item).parts
        if len(parts) != 1:
            raise PatternError(
                f"{item}: a column in brackets is one name",
                "leave the brackets out for all columns" if item == "*" else "",
            )
        if parts[0] in found:
            raise PatternError(f"the column {item} is listed twice")
        found.append(parts[0])
    return tuple(found)


def _check_shape(
    text: str, name: NamePattern, kind: str, spec: VerbSpec, vocabulary: RuleVocabulary
) -> None:
    count = len(name.parts)
    if count == 0 or spec.shape is NameShape.SINGLE:
        return
    if spec.shape is NameShape.QUALIFIED and count != 2:
        if count == 1:
            raise PatternError(
                f"{text} has no schema, and a rule does not follow search_path",
                f"write {vocabulary.default_schema}.{text}, or *.{text} for every schema",
            )
        hint = "a part that holds a dot is quoted"
        if count == 3 and spec.columns:
            parts = [spell_pattern(p) for p in name.parts]
            hint = f"for one column write {parts[0]}.{parts[1]}({parts[2]})"
        raise PatternError(f"{text} has {count} parts, and {spec.name} takes schema.name", hint)
    if spec.shape is NameShape.FLEXIBLE and count == 1 and not kind:
        raise PatternError(
            f"{text} has no schema, and a rule does not follow search_path",
            f"write {vocabulary.default_schema}.{text}, or the kind: schema:{text}, role:{text}",
        )


def _check_spelling(text: str, vocabulary: RuleVocabulary) -> None:
    """Refuses what looks like a name and is another."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"):
            raise PatternError(f"an invisible character (U+{ord(character):04X}) in the pattern")
    for quoted in _QUOTED.findall(text):
        _check_alphabets(quoted)
    bare = _QUOTED.sub("", text)
    if not bare.isascii():
        _check_alphabets(bare)
        raise PatternError(
            f"{text}: letters outside a-z are quoted", f"write {spell(*text.split('.'))}"
        )
    if bare != bare.lower():
        raise PatternError(
            f"{text}: unquoted names are lower case, as PostgreSQL folds them",
            f"write {text.lower()}, or {spell(*text.split('.'))} if it was created in quotes",
        )
    if not _BARE.match(bare):
        raise PatternError(f"{text}: not a plain name", 'quote as SQL does: "My Schema"."My Table"')
    for part in text.split("."):
        if len(part.strip('"').encode()) > vocabulary.max_name_bytes:
            raise PatternError(
                f"{part} is longer than {vocabulary.max_name_bytes} bytes and can never match"
            )


def _check_alphabets(text: str) -> None:
    seen = {
        word
        for character in text
        if character.isalpha()
        for word in (unicodedata.name(character, "?").split()[0],)
        if word in _ALPHABETS
    }
    if len(seen) > 1 or "FULLWIDTH" in seen:
        raise PatternError(
            f"{text} mixes look-alike letters ({', '.join(sorted(seen)).lower()})",
            "type the name again in one alphabet",
        )


def _join(parts: tuple[PartPattern, ...]) -> PartPattern:
    """Several parts as one name with dots in it: settings such as `app.user`."""
    pieces = list(parts[0].pieces)
    for part in parts[1:]:
        pieces[-1] += "." + part.pieces[0]
        pieces.extend(part.pieces[1:])
    return PartPattern(tuple(pieces))
