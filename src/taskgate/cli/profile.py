"""Where a signed-in person's server, trust and API token are kept: files only they can read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from taskgate.cli.exits import Exit, stop

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Profile:
    """One sign-in. `ca_file` is empty where the system's own list of authorities is trusted.
    The token belongs to `server` and is never sent to another; nor is `refresh`, which renews it
    where the sign-in was a provider's. `provider` is that one's name, `leave` signs out there too,
    `device` says that the sign-in was made on another device, `saml` that the provider speaks
    SAML."""

    server: str = ""
    ca_file: str = ""
    name: str = ""
    token: str = ""
    expires_at: float = 0.0
    refresh: str = ""
    provider: str = ""
    leave: str = ""
    device: bool = False
    saml: bool = False

    def __repr__(self) -> str:
        return f"Profile(server={self.server!r}, name={self.name!r})"


def folder() -> Path:
    """`$TASKGATE_CONFIG_DIR`, or `taskgate` in the XDG base directory for configuration."""
    own = os.environ.get("TASKGATE_CONFIG_DIR")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "taskgate"


def profile_name() -> str:
    name = os.environ.get("TASKGATE_PROFILE") or "default"
    if not _NAME.fullmatch(name):
        stop(f"{name!r} cannot be a profile's name", Exit.USAGE)
    return name


def load() -> Profile:
    """The chosen profile; an empty one if there is none. The environment counts before it."""
    path = folder() / f"{profile_name()}.json"
    found = Profile()
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                stop(
                    f"{path} can be read by others, and holds a token",
                    Exit.INVALID,
                    hint=f"chmod 600 {path}; taskgate logout and login again if it was copied",
                )
            value = json.load(file)
            found = Profile(**{key: value[key] for key in asdict(found) if key in value})
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError) as error:
        stop(f"cannot read {path}: {error}", Exit.INVALID, hint="taskgate login makes it anew")
    return _with_environment(found)


def _with_environment(found: Profile) -> Profile:
    server = os.environ.get("TASKGATE_SERVER", "").rstrip("/")
    if server and server != found.server:
        # Another server: neither the token nor the trust of the first one counts there.
        found = Profile(server=server)
    ca = os.environ.get("TASKGATE_CA")
    if ca and not ca.startswith("sha256:"):
        found = replace(found, ca_file=ca)
    token = os.environ.get("TASKGATE_TOKEN")
    if token:
        found = replace(found, token=token, expires_at=0.0, refresh="", provider="", leave="")
    return found


def save(profile: Profile) -> None:
    """Writes the chosen profile, whole, mode 0600."""
    write_private(f"{profile_name()}.json", json.dumps(asdict(profile), indent=1) + "\n")


def write_private(name: str, text: str) -> Path:
    """Writes one file of the folder, mode 0600, whole or not at all; its path."""
    target = folder() / name
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(target)
    except OSError as error:
        stop(f"cannot write {target}: {error.strerror}")
    finally:
        temporary.unlink(missing_ok=True)
    return target
