"""Check digits and numbering plans: what tells a card number from any other long number."""

# Registered IBAN lengths by country (ISO 13616; the SWIFT IBAN registry).
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip

# Issuer prefixes: (first, last, width in digits, lengths). ISO/IEC 7812; the schemes' BIN tables.
_BRANDS = (
    (4, 4, 1, (13, 16, 19)),  # Visa
    (51, 55, 2, (16,)),  # Mastercard
    (2221, 2720, 4, (16,)),  # Mastercard, second series
    (34, 34, 2, (15,)),  # American Express
    (37, 37, 2, (15,)),
    (6011, 6011, 4, (16, 17, 18, 19)),  # Discover
    (644, 649, 3, (16, 17, 18, 19)),
    (65, 65, 2, (16, 17, 18, 19)),  # Discover, RuPay
    (300, 305, 3, (14, 15, 16, 17, 18, 19)),  # Diners Club
    (3095, 3095, 4, (14, 15, 16, 17, 18, 19)),
    (36, 36, 2, (14, 15, 16, 17, 18, 19)),
    (38, 39, 2, (14, 15, 16, 17, 18, 19)),
    (3528, 3589, 4, (16, 17, 18, 19)),  # JCB
    (62, 62, 2, (16, 17, 18, 19)),  # UnionPay
    (81, 82, 2, (16, 17, 18, 19)),  # UnionPay, RuPay
    (50, 50, 2, (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (56, 59, 2, (13, 14, 15, 16, 17, 18, 19)),
    (60, 60, 2, (13, 14, 15, 16, 17, 18, 19)),
    (63, 64, 2, (13, 14, 15, 16, 17, 18, 19)),
    (66, 69, 2, (13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, 4, (16, 17, 18, 19)),  # Mir
    (9792, 9792, 4, (16,)),  # Troy
    (1, 1, 1, (15,)),  # UATP
)
_DOUBLED = str.maketrans("0123456789", "0246813579")


def luhn_valid(digits: str) -> bool:
    """Whether the last of `digits` (0-9 only) is their Luhn digit (ISO/IEC 7812-1, annex B)."""
    total = sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))
    return total % 10 == 0


def _prefix_table() -> dict[str, frozenset[int]]:
    table: dict[str, set[int]] = {}
    for first, last, width, lengths in _BRANDS:
        for number in range(first, last + 1):
            table.setdefault(str(number).zfill(width), set()).update(lengths)
    return {prefix: frozenset(lengths) for prefix, lengths in table.items()}


_PREFIXES = _prefix_table()


def card_valid(digits: str) -> bool:
    """Whether `digits` (0-9 only) has a card scheme's prefix and length and a right check digit."""
    length = len(digits)
    if not 13 <= length <= 19:
        return False
    for width in (1, 2, 3, 4):
        lengths = _PREFIXES.get(digits[:width])
        if lengths is not None and length in lengths:
            return luhn_valid(digits)
    return False


def iban_valid(compact: str) -> bool:
    """Whether `compact` (upper case, no separators) has its country's length and a right
    checksum (ISO 13616, ISO 7064 MOD 97-10)."""
    if IBAN_LENGTHS.get(compact[:2]) != len(compact) or not compact.isascii():
        return False
    if not compact.isalnum():
        return False
    rearranged = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in rearranged)) % 97 == 1


def ssn_valid(digits: str) -> bool:
    """Whether nine `digits` are a US social security number that can have been issued: no area
    000, 666 or 900-999, no group 00, no serial 0000 (SSA POMS RM 10201.035)."""
    return (
        len(digits) == 9
        and digits[:3] not in ("000", "666")
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
    )
