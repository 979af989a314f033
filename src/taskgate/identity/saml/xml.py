"""XML from strangers, read within bounds and in one way only. Pure.

A message holds elements and text. Whatever would let two readers see two things is refused before
anything is parsed: document types (and with them entities), comments and processing instructions
(which split a text in two), CDATA, encodings other than UTF-8.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from lxml import etree

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model import limits

Element = etree._Element

_DECLARATION: Final = re.compile(
    r"""\s*<\?xml\s+version=("1\.0"|'1\.0')(\s+encoding=["'][Uu][Tt][Ff]-8["'])?"""
    r"""(\s+standalone=["'](yes|no)["'])?\s*\?>"""
)
_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}\Z")
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z\Z", re.ASCII)
_ID_NAMES: Final = frozenset({"ID", "Id", "id", "{http://www.w3.org/XML/1998/namespace}id"})


def parse_message(data: bytes) -> Element:
    """A protocol message or assertion. Raises: TokenRefused."""
    text = _text(data, limits.MAX_SAML_BYTES)
    declared = _DECLARATION.match(text)
    rest = text[declared.end() :] if declared else text
    # In well-formed XML "<" begins markup and nothing else, so this finds them all.
    if "<!" in rest or "<?" in rest:
        raise TokenRefused("the message holds a document type, comment or instruction")
    return _parse(rest)


def parse_document(data: bytes) -> Element:
    """Metadata: written by people, so comments may be in it; they do not count.

    Raises: TokenRefused.
    """
    text = _text(data, limits.MAX_SAML_METADATA_BYTES)
    declared = _DECLARATION.match(text)
    rest = text[declared.end() :] if declared else text
    if "<!DOCTYPE" in rest or "<!ENTITY" in rest:
        raise TokenRefused("the metadata holds a document type")
    return _parse(rest)


def strict_parser() -> etree.XMLParser:
    """Reads nothing but what it is given, and expands nothing."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def serialized(element: Element) -> bytes:
    """The element as a document of its own, with the namespaces that are in scope."""
    return etree.tostring(element, encoding="utf-8", with_tail=False)


def children_of(element: Element, *tags: str) -> list[Element]:
    """Its child elements of these names, all of them for none."""
    return [child for child in element if not tags or child.tag in tags]


def only_child(element: Element, tag: str) -> Element:
    """The one child of that name. Raises: TokenRefused where there is none, or more."""
    found = children_of(element, tag)
    if len(found) != 1:
        raise TokenRefused(f"there must be one {_local(tag)} in {_local(str(element.tag))}")
    return found[0]


def text_of(element: Element) -> str:
    """All of its text. Raises: TokenRefused where elements stand between."""
    if len(element):
        raise TokenRefused(f"{_local(str(element.tag))} must be text alone")
    return element.text or ""


def id_of(element: Element) -> str:
    """Raises: TokenRefused."""
    value = element.get("ID", "")
    if not _ID.match(value):
        raise TokenRefused(f"{_local(str(element.tag))} has no proper ID")
    return value


def attribute_of(element: Element, name: str) -> str:
    """Raises: TokenRefused where it is missing or empty."""
    value = element.get(name)
    if not value:
        raise TokenRefused(f"{_local(str(element.tag))} has no {name}")
    return value


def instant_of(element: Element, name: str) -> float | None:
    """An attribute's time (seconds since the epoch), None where there is none. SAML core 1.3.3:
    UTC alone. Raises: TokenRefused."""
    value = element.get(name)
    if value is None:
        return None
    match = _INSTANT.match(value)
    try:
        if match is None:
            raise ValueError
        whole = datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        return whole.timestamp() + float(f"0{match.group(2) or ''}")
    except ValueError:
        raise TokenRefused(f"{_local(str(element.tag))} has a {name} that is no time") from None


def instant(at: float) -> str:
    """The same written, to whole seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ensure_single_ids(root: Element) -> None:
    """That no two elements share an identifier: a signature's reference then means one element.

    Raises: TokenRefused.
    """
    seen: set[str] = set()
    for element in root.iter():
        for name in _ID_NAMES:
            value = element.get(name)
            if value is None:
                continue
            if value in seen:
                raise TokenRefused("two elements have the same ID")
            seen.add(value)


def elements_of(root: Element, *tags: str) -> Iterator[Element]:
    """Every element of these names, `root` included."""
    return (element for element in root.iter() if element.tag in tags)


def _text(data: bytes, most: int) -> str:
    if len(data) > most:
        raise TokenRefused(f"the XML is larger than {most} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise TokenRefused("the XML is not UTF-8") from None
    return text.removeprefix("\ufeff")


def _parse(text: str) -> Element:
    try:
        root = etree.fromstring(text.encode(), strict_parser())
    except (etree.XMLSyntaxError, ValueError):
        raise TokenRefused("this is no well-formed XML") from None
    _ensure_bounded(root)
    return root


def _ensure_bounded(root: Element) -> None:
    """Depth, and attributes with namespaces of one element: both are what costs more than their
    bytes later on."""
    level: list[Element] = [root]
    depth = 0
    while level:
        depth += 1
        if depth > limits.MAX_XML_DEPTH:
            raise TokenRefused(f"the XML is nested deeper than {limits.MAX_XML_DEPTH}")
        for element in level:
            if len(element.attrib) + len(element.nsmap) > limits.MAX_XML_ATTRIBUTES:
                raise TokenRefused(
                    f"an element has more than {limits.MAX_XML_ATTRIBUTES} attributes"
                )
        level = [child for element in level for child in element]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
