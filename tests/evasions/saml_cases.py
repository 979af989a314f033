"""What the cases of SAML begin with: a provider, a request, and what becomes of an answer to it.

`eve` is somebody whom the provider vouches for, and who wants to be `ann`. She has a response of
her own, rightly signed, for a sign-in that she began herself in her own browser.
"""

import copy
import os
import time
from collections.abc import Callable

import pytest
from lxml import etree

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.saml.assertion import Expected
from taskgate.identity.saml.names import (
    ASSERTION,
    SAML,
    SIGNATURE,
)
from taskgate.identity.saml.people import identity_of
from taskgate.identity.saml.response import read_response
from taskgate.identity.saml.xml import Element
from tests.identity.saml.around import OWN, settings_for
from tests.identity.saml.issuing import ACS, AUDIENCE, Idp, key

Case = Callable[[Idp, str], bytes]
NOW = float(int(time.time()))
REQUEST = "_the_request"
IDP = Idp(lambda: NOW)


def sign_in(data: bytes) -> None:
    """Reads a response to REQUEST as the gate does. Raises: TokenRefused."""
    expected = Expected(IDP.entity_id, AUDIENCE, ACS, REQUEST, NOW)
    found = read_response(data, expected, [IDP.certificate], [key(OWN)])
    identity_of(settings_for(""), AUDIENCE, found, NOW)


def refusal(data: bytes) -> str:
    """Why a response to REQUEST signs nobody in."""
    with pytest.raises(TokenRefused) as caught:
        sign_in(data)
    assert str(caught.value) == str(TokenRefused("anything")), "one face for all"
    return caught.value.why


def eves_parts(idp: Idp, request: str) -> tuple[Element, Element, Element]:
    """Eve's response, her signed assertion in it, and an unsigned copy that says `ann`."""
    root = etree.fromstring(idp.signed(request, subject="eve"))
    mine = root.find(ASSERTION)
    assert mine is not None
    forged = copy.deepcopy(mine)
    drop(forged.find(SIGNATURE))
    name_in(forged).text = "ann"
    forged.set("ID", f"_f{os.urandom(4).hex()}")
    return root, mine, forged


def name_in(element: Element) -> Element:
    found = next(element.iter(f"{{{SAML}}}NameID"))
    return found


def drop(element: Element | None) -> None:
    assert element is not None
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def signature_in(element: Element) -> Element:
    found = element.find(SIGNATURE)
    assert found is not None
    return found
