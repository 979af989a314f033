"""A provider's response, taken apart: one assertion, and only what a signature covers. Pure.

Sources: SAML 2.0 core section 3.2.2 and 3.3.3; profiles section 4.1.4; for what it must withstand,
Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be" (USENIX Security 2012).
"""

import re
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.assertion import Assertion, Expected, check_issuer, read_assertion
from taskgate.identity.saml.encryption import opened
from taskgate.identity.saml.names import (
    ASSERTION,
    ENCRYPTED_ASSERTION,
    ISSUER,
    LOGOUT_REQUEST,
    LOGOUT_RESPONSE,
    RESPONSE,
    SAMLP,
    SIGNATURE,
    SUCCESS,
)
from taskgate.identity.saml.signatures import is_signed, signed_part
from taskgate.identity.saml.xml import (
    Element,
    children_of,
    elements_of,
    ensure_single_ids,
    id_of,
    instant_of,
    only_child,
    parse_message,
)
from taskgate.model import limits

_STATUS: Final = f"{{{SAMLP}}}Status"
_MESSAGES: Final = (RESPONSE, LOGOUT_REQUEST, LOGOUT_RESPONSE)


def read_response(
    data: bytes,
    expected: Expected,
    certificates: Sequence[x509.Certificate],
    keys: Sequence[rsa.RSAPrivateKey],
) -> Assertion:
    """The one assertion in a response, if it is for us, now, and signed: itself, or as a part of
    the signed response. Every signature that is there must hold. Raises: TokenRefused."""
    root = parse_message(data)
    _ensure_shape(root)
    signed = is_signed(root)
    if signed:
        root = signed_part(root, certificates)
    _check_response(root, expected, signed=signed)
    carried = only_child(root, _carried(root))
    if carried.tag == ENCRYPTED_ASSERTION:
        inner = parse_message(opened(carried, keys, authentic=signed))
        if inner.tag != ASSERTION:
            raise TokenRefused("what is encrypted is no assertion")
        ensure_single_ids(inner)
        _ensure_one_assertion(inner)
        carried = inner
    if is_signed(carried):
        carried = signed_part(carried, certificates)
    elif not signed:
        raise TokenRefused("neither the response nor its assertion is signed")
    return read_assertion(carried, expected)


def _ensure_shape(root: Element) -> None:
    """That there is one place for everything, and nothing anywhere else: whichever element a
    reader may look for, it finds the same one. Raises: TokenRefused."""
    if root.tag != RESPONSE:
        raise TokenRefused("the message is no response")
    ensure_single_ids(root)
    allowed = {ISSUER, SIGNATURE, _STATUS, ASSERTION, ENCRYPTED_ASSERTION}
    if any(child.tag not in allowed for child in root):
        raise TokenRefused("the response has parts that are not taken")
    _ensure_one_assertion(root)


def _ensure_one_assertion(root: Element) -> None:
    """Raises: TokenRefused."""
    carried = list(elements_of(root, ASSERTION, ENCRYPTED_ASSERTION))
    places = (root,) if root.tag == ASSERTION else tuple(root)
    if len(carried) > 1 or any(one not in places for one in carried):
        raise TokenRefused("there must be one assertion, in its place")
    if sum(1 for _ in elements_of(root, *_MESSAGES)) > (root.tag in _MESSAGES):
        raise TokenRefused("a message stands within the message")
    owners = (root, *carried)
    for signature in elements_of(root, SIGNATURE):
        if signature.getparent() not in owners:
            raise TokenRefused("a signature stands where none belongs")
    for owner in owners:
        if len(children_of(owner, SIGNATURE)) > 1:
            raise TokenRefused("there must be one signature")


def _check_response(root: Element, expected: Expected, *, signed: bool) -> None:
    """What the response itself says. Unsigned, it can only make things worse for its bearer.

    Raises: TokenRefused.
    """
    if root.get("Version") != "2.0":
        raise TokenRefused("the response is not of SAML 2.0")
    id_of(root)
    issued_at = instant_of(root, "IssueInstant")
    if issued_at is None or issued_at > expected.now + limits.CLOCK_SKEW_S:
        raise TokenRefused("the response is of no time, or of the future")
    destination = root.get("Destination")
    if destination != expected.recipient and (signed or destination is not None):
        raise TokenRefused("the response is for another destination")
    if root.get("InResponseTo") not in (None, expected.in_response_to):
        raise TokenRefused("the response answers no request of ours, or another browser's")
    issuers = children_of(root, ISSUER)
    if issuers or signed:
        check_issuer(only_child(root, ISSUER), expected.issuer)
    check_status(root)


def check_status(root: Element) -> None:
    """Raises: TokenRefused, with the provider's own words for what it refused."""
    code = only_child(only_child(root, _STATUS), f"{{{SAMLP}}}StatusCode")
    if code.get("Value") != SUCCESS:
        last = list(elements_of(code, f"{{{SAMLP}}}StatusCode"))[-1].get("Value", "")
        name = re.sub(r"[^A-Za-z0-9]", "", last.rpartition(":")[2])[:40]
        raise TokenRefused(f"the provider refused: {name or 'no reason given'}")


def _carried(root: Element) -> str:
    found = children_of(root, ASSERTION, ENCRYPTED_ASSERTION)
    if len(found) != 1:
        raise TokenRefused("there must be one assertion, in its place")
    return str(found[0].tag)
