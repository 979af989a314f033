"""An issuer of the test's own: a key set server on loopback that can be made to misbehave, and
tokens of any kind, honest or not."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

Json = dict[str, Any]


def rsa_key(kid: str = "one", size: int = 2048) -> RSAKey:
    return RSAKey.generate_key(size, {"kid": kid, "use": "sig"})


def ec_key(kid: str = "ec") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def ed_key(kid: str = "ed") -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig"})


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def sign(key: RSAKey | ECKey | OKPKey, header: Json, payload: str | bytes) -> str:
    """A token whose header is exactly `header`, whatever it says."""
    name = "Ed25519" if header.get("alg") == "EdDSA" else str(header.get("alg"))
    text = f"{part(header)}.{part(payload.encode() if isinstance(payload, str) else payload)}"
    return f"{text}.{part(JWSRegistry.algorithms[name].sign(text.encode(), key))}"


def hmac_signed(secret: bytes, header: Json, claims: Json) -> str:
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def pem(key: RSAKey) -> bytes:
    return key.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@dataclass(slots=True)
class Issuing:
    """The server behind `issuer`. Change its fields to change what it answers."""

    issuer: str
    keys: list[Any]
    extra_keys: list[Json] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    silent: bool = False
    status: int = 200
    body: bytes | None = None

    def claims(self, **changed: Any) -> Json:
        """Those of a good ID token for the client `gate`; None takes one away."""
        now = int(time.time())
        found: Json = {
            "iss": self.issuer, "aud": "gate", "sub": "ann", "iat": now, "exp": now + 300,
            "groups": ["analysts"],
        }  # fmt: skip
        found |= changed
        return {name: value for name, value in found.items() if value is not None}

    def token(self, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A token signed with the first key."""
        head: Json = {"alg": "RS256", "kid": self.keys[0].kid, "typ": "JWT"}
        head |= header or {}
        return sign(self.keys[0], head, json.dumps(self.claims(**changed)))

    def count(self, path: str) -> int:
        return sum(one == path for one in self.asked)

    def answer(self, path: str) -> bytes:
        if self.body is not None:
            return self.body
        if path == "/jwks":
            public = [key.as_dict(private=False) for key in self.keys]
            return json.dumps({"keys": public + self.extra_keys}).encode()
        return json.dumps(
            {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"} | self.metadata
        ).encode()


@contextmanager
def issuing(*keys: Any) -> Iterator[Issuing]:
    """A running issuer; one RSA key unless others are given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            there.asked.append(self.path)
            time.sleep(there.delay_s)
            while there.silent:
                time.sleep(0.02)
            body = there.answer(self.path)
            try:
                self.send_response(there.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # whoever asked would not wait

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    there = Issuing(f"http://127.0.0.1:{server.server_port}", list(keys) or [rsa_key()])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield there
    finally:
        there.silent = False
        server.shutdown()
        server.server_close()
        thread.join()
