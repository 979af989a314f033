"""Speaking to the gateway's API. The standard library's client, because it starts fast."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from taskgate.cli import profile as profiles
from taskgate.cli.exits import Exit, Stop, code_of_status, stop
from taskgate.cli.profile import Profile

if TYPE_CHECKING:
    from pydantic import BaseModel

    T = TypeVar("T", bound=BaseModel)
else:
    T = TypeVar("T")

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024


class Refused(Stop):
    """The API said no. `status` is HTTP's, `type` the problem's (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        # OAuth's endpoints have words of their own (RFC 6749 section 5.2).
        told = (problem.get(key) for key in ("detail", "error_description", "title", "error"))
        detail = str(next(filter(None, told), f"HTTP status {status}"))
        errors = problem.get("errors") or []
        super().__init__(
            "\n".join([detail, *map(str, errors)]),
            code_of_status(status),
            rule=str(problem.get("rule") or ""),
            hint=str(problem.get("hint") or ""),
        )
        self.status = status
        self.type = str(problem.get("type") or "")
        # How the gateway wants its caller to have signed in; None where that is not what is wrong.
        self.sign_in: Mapping[str, Any] | None = problem.get("sign_in")


@dataclass(frozen=True, slots=True)
class Form:
    """A body in the form of HTML forms."""

    fields: Mapping[str, str] = field(repr=False)


class Client:
    """One server. `token` is empty before signing in."""

    def __init__(self, profile: Profile) -> None:
        if not profile.server:
            stop(
                "no gateway is named",
                Exit.USAGE,
                hint="taskgate login --server https://gate.example.com:8443",
            )
        parts = urlsplit(profile.server)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            stop(f"{profile.server!r} is no address; write https://HOST:PORT", Exit.USAGE)
        loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme == "http" and not loopback:
            stop(
                f"{profile.server} would carry passwords and tokens in clear",
                Exit.USAGE,
                hint="use https; plain http is for loopback alone",
            )
        self.profile = profile
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._context = _context(profile.ca_file) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, shape: type[T], **query: object) -> T:
        return self._shaped("GET", path, shape, None, query)

    def get_list(self, path: str, shape: type[T], **query: object) -> list[T]:
        answer = self._json("GET", path, None, query)
        return [shape.model_validate(item) for item in answer]

    def post(self, path: str, shape: type[T], body: object = None) -> T:
        return self._shaped("POST", path, shape, body, {})

    def post_any(self, path: str, body: object) -> dict[str, Any]:
        """An answer that may have one of several shapes."""
        answer = self._json("POST", path, body, {})
        return answer if isinstance(answer, dict) else {}

    def post_form(self, path: str, shape: type[T], form: Mapping[str, str]) -> T:
        """Sends a form, as OAuth's endpoints take it."""
        return shape.model_validate(self._json("POST", path, Form(form), {}))

    def send_form(self, path: str, form: Mapping[str, str]) -> None:
        """The same where the answer has nothing in it."""
        self._json("POST", path, Form(form), {})

    def send(self, method: str, path: str, body: object = None) -> None:
        """A request whose answer has nothing in it."""
        self._json(method, path, body, {})

    def stream(self, path: str, **query: object) -> Iterator[str]:
        """The data of each server-sent event, as it comes, until the server ends it."""
        response = self._request("GET", path, None, query, accept="text/event-stream", timeout_s=60)
        data: list[str] = []
        try:
            while line := response.readline(MAX_ANSWER_BYTES):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                if text.startswith("data:"):
                    data.append(text[5:].removeprefix(" "))
                elif not text and data:
                    yield "\n".join(data)
                    data = []
        except (OSError, http.client.HTTPException) as error:
            stop(f"the stream from {self.profile.server} broke: {error}", Exit.UNREACHABLE)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _shaped(
        self, method: str, path: str, shape: type[T], body: object, query: Mapping[str, object]
    ) -> T:
        return shape.model_validate(self._json(method, path, body, query))

    def _json(self, method: str, path: str, body: object, query: Mapping[str, object]) -> Any:
        response = self._request(method, path, body, query, accept="application/json")
        try:
            data = response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            stop(f"the answer of {self.profile.server} broke off: {error}", Exit.UNREACHABLE)
        try:
            return json.loads(data) if data else None
        except ValueError:
            stop(f"{self.profile.server} does not answer as a taskgate gateway", Exit.UNREACHABLE)

    def _request(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, object],
        *,
        accept: str,
        timeout_s: float = TIMEOUT_S,
    ) -> http.client.HTTPResponse:
        asked = {key: value for key, value in query.items() if value not in (None, "", [], ())}
        target = self._prefix + path + (f"?{urlencode(asked, doseq=True)}" if asked else "")
        headers = {"Accept": accept, "User-Agent": "taskgate-cli"}
        payload = None
        if isinstance(body, Form):
            payload = urlencode(body.fields).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self.profile.token:
            headers["Authorization"] = f"Bearer {self.profile.token}"
        response = self._exchange(method, target, payload, headers, timeout_s)
        if 200 <= response.status < 300:
            return response
        data = response.read(1024 * 1024)
        try:
            problem = json.loads(data)
        except ValueError:
            problem = {}
        raise Refused(response.status, problem if isinstance(problem, dict) else {})

    def _exchange(
        self,
        method: str,
        target: str,
        payload: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> http.client.HTTPResponse:
        # A new connection each time: a kept one may have been closed meanwhile, and a request
        # that is sent twice could act twice.
        self.close()
        if self._context is not None:
            self._connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=self._context
            )
        else:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        try:
            self._connection.request(method, target, payload, dict(headers))
            return self._connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            stop(
                f"{self.profile.server} shows a certificate that is not trusted:"
                f" {error.verify_message}",
                Exit.UNREACHABLE,
                hint="taskgate login --server ... --ca FILE, or --ca sha256:FINGERPRINT as"
                " `taskgate ca --fingerprint` prints it on the gateway's host",
            )
        except (OSError, http.client.HTTPException) as error:
            stop(
                f"cannot reach the gateway at {self.profile.server}: {error}",
                Exit.UNREACHABLE,
                hint="is it running, and is the address right?",
            )


def signed_in() -> Client:
    """The chosen profile's client. Raises: Stop where nobody is signed in."""
    from taskgate.cli.sign_in import renewed

    profile = renewed(profiles.load())
    client = Client(profile)
    if not profile.token:
        stop(
            f"not signed in to {profile.server}",
            Exit.NOT_SIGNED_IN,
            hint=f"taskgate login --server {profile.server}",
        )
    return client


def trusted_ca(server: str, ca: str) -> str:
    """The path of a PEM file to trust; a pinned authority (`sha256:HEX`) is fetched and kept."""
    if not ca.startswith("sha256:"):
        return str(Path(ca).expanduser().absolute())
    pem = pinned_authority(server, ca)
    return str(profiles.write_private(f"{profiles.profile_name()}.ca.pem", pem))


def path(*parts: str) -> str:
    """An API path from parts, none of which can leave its place."""
    for part in parts:
        if part in (".", "..") or not part:
            stop(f"{part!r} is no id", Exit.USAGE)
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def pinned_authority(server: str, fingerprint: str) -> str:
    """The gateway's own CA, fetched unverified and taken only if its fingerprint is the given
    one (`sha256:` and 64 hex digits). Returns PEM."""
    wanted = fingerprint.removeprefix("sha256:").replace(":", "").lower()
    parts = urlsplit(server)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=context
    )
    try:
        # Nothing secret is sent on this connection, and nothing from it is believed unproved.
        connection.request("GET", parts.path.rstrip("/") + "/v1/ca")
        answer = json.loads(connection.getresponse().read(1024 * 1024))
        pem = str(answer["pem"])
        der = ssl.PEM_cert_to_DER_cert(pem)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        stop(f"cannot fetch the CA of {server}: {error}", Exit.UNREACHABLE)
    finally:
        connection.close()
    if hashlib.sha256(der).hexdigest() != wanted:
        stop(
            f"{server} shows another CA than the fingerprint names",
            Exit.UNREACHABLE,
            hint="compare with `taskgate ca --fingerprint` on the gateway's host; if that one is"
            " right, somebody stands in between",
        )
    return ssl.DER_cert_to_PEM_cert(der)


def _context(ca_file: str) -> ssl.SSLContext:
    if ca_file and not os.path.isfile(ca_file):
        stop(f"the CA file {ca_file} is not there", Exit.USAGE)
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        stop(f"cannot use the CA file {ca_file}: {error}", Exit.USAGE)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
