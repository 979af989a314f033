"""Hides values of some kinds within JSON, and leaves it JSON."""

import json
from itertools import islice

from taskgate.masking.content import KindMasker
from taskgate.masking.detectors import Span
from taskgate.masking.finder import compile_bytes

# RFC 8259 sections 6 and 7: the tokens that can hold a value.
_TOKEN = compile_bytes(rb'(?s)"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?')
# Each costs some microseconds. A document with more of them is hidden whole.
MAX_TOKENS = 50_000
REDACTED_JSON = b'"[masked]"'
_SPACE = b" \t\r\n"


def hide_json(document: bytes, masker: KindMasker) -> bytes | None:
    """`document` (UTF-8) with the values in its strings, keys and numbers hidden.

    The same object comes back where there is nothing to hide. What is found but cannot be cut
    out of a token, and what is no JSON, hides the whole document (REDACTED_JSON).
    """
    spans = masker.find(document)
    tokens = [m.span() for m in islice(_TOKEN.finditer(document), MAX_TOKENS + 1)]
    if len(tokens) > MAX_TOKENS:
        masker.count(spans)
        return REDACTED_JSON if spans else document
    out: list[bytes] = []
    done = 0
    for start, end in tokens:
        token = document[start:end]
        try:
            replacement = _hide_token(token, masker, key=_is_key(document, end))
        except (ValueError, RecursionError):
            if not spans:
                continue
            masker.count(spans)
            return REDACTED_JSON
        if replacement is not token:
            out += (document[done:start], replacement)
            done = end
    if not _inside(spans, tokens):
        masker.count(spans)
        return REDACTED_JSON
    if not done:
        return document
    out.append(document[done:])
    return b"".join(out)


def _is_key(document: bytes, at: int) -> bool:
    while at < len(document) and document[at] in _SPACE:
        at += 1
    return document[at : at + 1] == b":"


def _hide_token(token: bytes, masker: KindMasker, *, key: bool) -> bytes:
    if token[0] == 0x22:
        text = json.loads(token, strict=False).encode("utf-8", "surrogatepass")
    else:
        text = _plain_number(token)
    hidden = masker.hide(text)
    if hidden is text:
        return token
    if hidden is None:
        return REDACTED_JSON if key else b"null"
    return json.dumps(hidden.decode("utf-8", "replace")).encode()


def _plain_number(token: bytes) -> bytes:
    """The digits before the point, without an exponent."""
    if b"e" in token.lower():
        value = float(token)
        return b"%d" % abs(int(value)) if abs(value) < 1e30 else token
    return token.lstrip(b"-").partition(b".")[0]


def _inside(spans: list[Span], tokens: list[tuple[int, int]]) -> bool:
    """Whether each span lies within one token. Both are sorted."""
    at = 0
    for span in spans:
        while at < len(tokens) and tokens[at][1] < span.end:
            at += 1
        if at == len(tokens) or tokens[at][0] > span.start:
            return False
    return True
