"""Card numbers, IBANs, US social security numbers and telephone numbers in text."""

from itertools import accumulate

from taskgate.masking.checksums import IBAN_LENGTHS, card_valid, iban_valid, ssn_valid
from taskgate.masking.finder import (
    MAX_CANDIDATES,
    Finder,
    Hits,
    TooManyCandidates,
    candidates,
    compile_bytes,
)
from taskgate.masking.identifiers import within_identifier

_DIGITS = frozenset(b"0123456789")
_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")

# A run of digit groups, at most two separators between them. What a run holds beside the card
# ("4111 1111 1111 1111 12/27") is told apart group by group.
_CARD_RUN = compile_bytes(rb"[0-9](?:[ \-]{0,2}[0-9]|[.][0-9]){12,}")
_GROUP = compile_bytes(rb"[0-9]+")
_MIN_CARD, _MAX_CARD = 13, 19


def _find_cards(text: bytes) -> Hits:
    seen = 0
    for run in candidates(_CARD_RUN, text):
        groups = [m.span() for m in _GROUP.finditer(text, run.start(), run.end())]
        seen += len(groups)
        if seen > MAX_CANDIDATES:
            raise TooManyCandidates
        digits = [text[a:b].decode() for a, b in groups]
        sums = [0, *accumulate(map(len, digits))]
        first = 0
        while first < len(groups):
            found = _card_from(text, groups, digits, sums, first)
            if found is None:
                first += 1
                continue
            start, end = groups[first][0], groups[found][1]
            if not within_identifier(text, start, end):
                yield start, end
            first = found + 1


def _card_from(
    text: bytes, groups: list[tuple[int, int]], digits: list[str], sums: list[int], first: int
) -> int | None:
    """The last group of a card number that starts with group `first`; the longest one counts."""
    if digits[first][0] == "0":
        return None
    found = None
    for last in range(first, len(groups)):
        total = sums[last + 1] - sums[first]
        if total > _MAX_CARD:
            break
        if total < _MIN_CARD:
            continue
        dotted = b"." in text[groups[first][0] : groups[last][1]]
        # A dot between digits is mostly a decimal point: it must cut the number as cards are cut.
        if dotted and any(len(d) != 4 for d in digits[first:last]):
            continue
        if card_valid("".join(digits[first : last + 1])):
            found = last
    return found


_COUNTRY = b"(?:" + b"|".join(c.encode() for c in sorted(IBAN_LENGTHS)) + b")"
_IBAN_START = compile_bytes(rb"(?i)" + _COUNTRY + rb"[0-9]{2}")
_MIN_IBAN = min(IBAN_LENGTHS.values())
_IBAN_SEPARATORS = frozenset(b" -")


def _find_ibans(text: bytes) -> Hits:
    done = 0
    for start in candidates(_IBAN_START, text):
        at = start.start()
        if at < done:
            continue
        length = IBAN_LENGTHS[text[at : at + 2].decode().upper()]
        compact = bytearray()
        separators = 0
        end = at
        for end in range(at, min(len(text), at + 3 * length)):
            byte = text[end]
            if byte in _IBAN_SEPARATORS and separators < 2:
                separators += 1
            elif byte in _WORD and byte != 0x5F:
                separators = 0
                compact.append(byte)
                if len(compact) == length:
                    break
            else:
                break
        if len(compact) == length and iban_valid(compact.decode().upper()):
            done = end + 1
            if not within_identifier(text, at, done):
                yield at, done


# With the digits that go on, so that a longer number is one candidate and not many.
_SSN = compile_bytes(rb"[0-9]*[0-9]{3}([ \-.]?)[0-9]{2}([ \-.]?)[0-9]{4,}", capture=True)
_SSN_CONTEXT = compile_bytes(rb"(?i)ssn|social.?sec|s\.s\.n")
_CONTEXT_BYTES = 40


def _find_ssns(text: bytes) -> Hits:
    at = 0
    for _ in range(MAX_CANDIDATES):
        match = _SSN.search(text, at)
        if match is None:
            return
        start, end = match.span()
        first, second = match.group(1), match.group(2)
        digits = text[start:end].translate(None, b" -.").decode()
        # Nine digits without separators are any number, unless they are all there is or named.
        if (
            first == second
            and ssn_valid(digits)
            and (first or (start == 0 and end == len(text)) or _named_ssn(text, start))
        ):
            at = end
            yield start, end
        else:
            # The last group may be the first of a number that counts.
            at = max(start + 3, end - 3 if first or second else end)
    raise TooManyCandidates


def _named_ssn(text: bytes, start: int) -> bool:
    return _SSN_CONTEXT.search(text[max(0, start - _CONTEXT_BYTES) : start]) is not None


def _in_number(text: bytes, start: int, end: int) -> bool:
    """Whether the digits go on at either side."""
    return (start > 0 and text[start - 1] in _DIGITS) or (end < len(text) and text[end] in _DIGITS)


_GAP = rb"[ ()./\-]{0,3}"
# International with its prefix, North American, then national with a trunk zero.
_PHONE = compile_bytes(
    rb"(?:\+|00)" + _GAP + rb"[1-9](?:" + _GAP + rb"[0-9]){6,14}"
    rb"|(?:1[ .\-]?)?\(?[2-9][0-9]{2}\)?[ .\-]{0,2}[2-9][0-9]{2}[ .\-]?[0-9]{4}"
    rb"|\(?0[1-9](?:" + _GAP + rb"[0-9]){7,10}"
)
_DATE = compile_bytes(rb"^\(?[0-9]{1,2}([./\-])[0-9]{1,2}[./\-](?:19|20)[0-9]{2}")


def _find_phones(text: bytes) -> Hits:
    at = 0
    for _ in range(MAX_CANDIDATES):
        match = _PHONE.search(text, at)
        if match is None:
            return
        start, end = match.span()
        number = text[start:end]
        if _is_phone(text, number, start, end) and not within_identifier(text, start, end):
            yield start, end
            at = end
        else:
            # Past the digits looked at: a number does not start within another one's group.
            at = start + 1
            while at < end and text[at - 1] in _DIGITS and text[at] in _DIGITS:
                at += 1
    raise TooManyCandidates


def _is_phone(text: bytes, number: bytes, start: int, end: int) -> bool:
    if _in_number(text, start, end) or (start > 0 and text[start - 1] in b"." + bytes(_WORD)):
        return False
    # A word that goes on is no number; an extension ("x12") is none of its own.
    if end < len(text) and text[end] in _WORD and text[end] not in b"xX" and number[0] != 0x2B:
        return False
    # A fraction or a dotted version goes on.
    if end + 1 < len(text) and text[end] in b".-" and text[end + 1] in _DIGITS:
        return number[0] == 0x2B
    digits = number.translate(None, b" ()./-+")
    separated = len(digits) != len(number.lstrip(b"+"))
    if number[0] == 0x2B:
        return 7 <= len(digits) <= 15
    if digits[:2] == b"00":
        return 10 <= len(digits) <= 17 and (separated or len(digits) >= 12)
    if digits[0] == 0x30:
        if _DATE.search(number) is not None:
            return False
        # Zero-padded numbers are common; a bare national number has ten or eleven digits.
        return 9 <= len(digits) <= 12 if separated else 10 <= len(digits) <= 11
    return separated or (start == 0 and end == len(text))


CREDIT_CARD = Finder(
    "credit_card",
    hint=rb"[0-9](?:[ \-]{0,2}[0-9]|[.][0-9]){12}",
    worth=lambda text, digits: digits >= _MIN_CARD,
    find=_find_cards,
)
IBAN = Finder(
    "iban",
    hint=b"(?i:" + _COUNTRY + rb")[0-9]{2}[ \-]{0,2}[A-Za-z0-9]{2}",
    worth=lambda text, digits: digits >= 4 and len(text) >= _MIN_IBAN,
    find=_find_ibans,
)
US_SSN = Finder(
    "us_ssn",
    hint=rb"[0-9]{3}[ \-.]?[0-9]{2}[ \-.]?[0-9]{4}",
    worth=lambda text, digits: digits >= 9,
    find=_find_ssns,
)
PHONE = Finder(
    "phone",
    hint=rb"(?:\+|00)" + _GAP + rb"[1-9](?:" + _GAP + rb"[0-9]){6}"
    rb"|[0-9](?:" + _GAP + rb"[0-9]){8}",
    worth=lambda text, digits: digits >= 7,
    find=_find_phones,
)
