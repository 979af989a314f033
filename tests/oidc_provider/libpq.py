"""A PostgreSQL client that signs in by itself: psycopg on libpq 18, whose own OAUTHBEARER exchange
it is; the device flow, which psql has in a library of its own, is done here by libpq's hook.

`python -m tests.oidc_provider.libpq WHO CONNINFO SQL` prints the first value of the answer. WHO is
the person who confirms the code, or `token:TOKEN` for a client that has one already.
"""

import ctypes
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, cast

import psycopg
import psycopg_binary

from tests.oidc_provider.running import RealProvider
from tests.patience import PATIENCE_S

BEARER_TOKEN = 1
CLIENT = "psql"


class BearerRequest(ctypes.Structure):
    """libpq-fe.h, PGoauthBearerRequest."""

    _fields_ = (
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("run", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    )


HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def by_device(discovery: str, scope: str, who: str) -> str:
    """An access token by RFC 8628, as libpq-oauth gets it."""
    metadata = _json(discovery)
    begun = _json(metadata["device_authorization_endpoint"], client_id=CLIENT, scope=scope)
    print(f"Visit {begun['verification_uri']} and enter {begun['user_code']}", file=sys.stderr)
    provider = RealProvider(metadata["issuer"], cast("Any", None))
    provider.confirm(begun["verification_uri_complete"], who)
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    for _ in range(20):
        try:
            found = _json(
                metadata["token_endpoint"],
                grant_type=grant, client_id=CLIENT, device_code=begun["device_code"],
            )  # fmt: skip
            return str(found["access_token"])
        except urllib.error.HTTPError as error:
            error.close()
            time.sleep(0.2)
    raise SystemExit("nobody confirmed the code")


def main() -> None:
    who, conninfo, sql = sys.argv[1:]
    (path,) = (Path(psycopg_binary.__file__).parents[1] / "psycopg_binary.libs").glob("libpq-*")
    libpq = ctypes.CDLL(str(path))
    kept: list[bytes] = []

    def hook(kind: int, _connection: int, data: int) -> int:
        if kind != BEARER_TOKEN:
            return 0
        request = BearerRequest.from_address(data)
        print(f"discovery {request.openid_configuration.decode()}", file=sys.stderr)
        if who.startswith("token:"):
            token = who.removeprefix("token:")
        else:
            token = by_device(request.openid_configuration.decode(), request.scope.decode(), who)
        kept.append(token.encode())
        request.token = kept[-1]
        return 1

    called = HOOK(hook)
    libpq.PQsetAuthDataHook(called)
    assert psycopg.pq.version() >= 180000
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute(sql.encode()).fetchone()
        print(row[0] if row else "")


def _json(url: str, **form: str) -> Any:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=PATIENCE_S) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
