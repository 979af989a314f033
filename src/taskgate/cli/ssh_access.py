"""Signing in by SSH with a certificate or a key: `login --ssh`, `ssh-config`, `keys`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli import profile as profiles
from taskgate.cli.access import Json
from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import at, emit, print_json, print_table, tell
from taskgate.cli.times import seconds_of

if TYPE_CHECKING:
    from taskgate.api.ssh_shapes import CertificateIssued, KeyChallenge, SshReach

_COMMON = """\
Host {patterns}
  HostName {host}
  Port {port}
  IdentityFile "{key}"
  CertificateFile "{certificate}"
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey,keyboard-interactive
  UserKnownHostsFile "{known}"
  GlobalKnownHostsFile /dev/null
  HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com
  StrictHostKeyChecking yes
"""

keys = typer.Typer(help="Your public keys for SSH.", no_args_is_help=True, rich_markup_mode=None)
Suffix = Annotated[str, typer.Option(help="What follows a resource's name: web-1.gate.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("ssh-config")(ssh_config)
    keys.command("add")(add)
    keys.command("list")(list_)
    keys.command("remove")(remove)
    app.add_typer(keys, name="keys")


def certified(client: Client, lasts: str = "", sources: list[str] | None = None) -> float:
    """Has a fresh key of this profile's certified; when the certificate ends (seconds since the
    epoch). The private key stays here. Raises: Stop."""
    from taskgate.api.ssh_shapes import CertificateIssued

    public, private = _fresh_key()
    asked = {
        "public_key": public,
        "lasts_s": seconds_of(lasts) if lasts else None,
        "sources": sources or [],
    }
    issued: CertificateIssued = client.post("/v1/ssh/certificates", CertificateIssued, asked)
    place = _place()
    profiles.write_private(f"{place}/key", private)
    profiles.write_private(f"{place}/key.pub", public + "\n")
    profiles.write_private(f"{place}/key-cert.pub", issued.certificate + "\n")
    return issued.expires_at


def forget_certificate() -> None:
    """Removes the key and its certificate, which open nothing any more."""
    folder = profiles.folder() / _place()
    for name in ("key", "key.pub", "key-cert.pub"):
        (folder / name).unlink(missing_ok=True)


def ssh_config(
    suffix: Suffix = "gate",
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long the certificate lasts at most.")
    ] = "",
    source: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="NETWORK", help="Only from there may it be used."),
    ] = None,
) -> None:
    """Set OpenSSH up: prints a configuration with which plain `ssh RESOURCE.gate` works, and gets a
    fresh certificate for it.

    It is written to a file as well; `Include` that file in ~/.ssh/config, once.
    """
    from taskgate.api.ssh_shapes import SshReach

    client = signed_in()
    found = client.get("/v1/ssh", SshReach)
    until = certified(client, lasts, source)
    place = _place()
    known = profiles.write_private(f"{place}/known_hosts", found.authority + "\n")
    text = configuration(found, suffix, known.parent)
    config = profiles.write_private(f"{place}/config", text)
    emit(text)
    tell(f"the certificate lasts until {at(until)}; taskgate login --ssh gets the next one")
    tell(f"for plain ssh, put this at the top of ~/.ssh/config, once:\n  Include {_quoted(config)}")


def configuration(found: SshReach, suffix: str, folder: Path) -> str:
    """The text of an OpenSSH configuration (ssh_config(5)). The plain name of a resource goes by
    whichever grant is newest; with the task's name in between, by that task's."""
    lines = ["# Written by taskgate ssh-config."]
    patterns = []
    for resource in sorted({one.resource for one in found.hosts}):
        patterns.append(f"{resource}.{suffix}")
        lines += [f"Host {resource}.{suffix}", f"  User +{resource}"]
    for one in found.hosts:
        patterns.append(f"{one.resource}.{one.task}.{suffix}")
        lines += [f"Host {one.resource}.{one.task}.{suffix}", f"  User {one.user}"]
    if not patterns:
        lines.append("# No task that you may take up reaches a host by SSH.")
        return "\n".join(lines) + "\n"
    common = _COMMON.format(
        patterns=" ".join(patterns), host=found.host, port=found.port, key=folder / "key",
        certificate=folder / "key-cert.pub", known=folder / "known_hosts",
    )  # fmt: skip
    # So that what stands behind the Include belongs to no host of ours.
    return "\n".join(lines) + "\n" + common + "Match all\n"


def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.pub", help="The public key's file.")],
    label: Annotated[str, typer.Option(help="How lists name it; its comment else.")] = "",
) -> None:
    """Register a public key: whoever has its private key comes in as you, under your grants.

    You show that you have it: ssh-keygen signs with it, from the file beside FILE.pub or by
    ssh-agent.
    """
    from taskgate.api.ssh_shapes import KeyChallenge, KeyShown

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        stop(f"cannot read {file}: {error}", Exit.USAGE)
    if "PRIVATE KEY" in text:
        stop(f"{file} is a private key", Exit.USAGE, hint=f"the public one is {file}.pub")
    client = signed_in()
    offered = {"public_key": text.strip()}
    challenge = client.post("/v1/ssh/keys/challenge", KeyChallenge, offered)
    asked = {**offered, "proof": _signed(file, challenge), "label": label}
    made = client.post("/v1/ssh/keys", KeyShown, asked)
    tell(f"{made.id}: {made.fingerprint} is registered as {made.who}'s")


def list_(
    everyone: Annotated[bool, typer.Option("--all", help="Everybody's, where you may.")] = False,
    as_json: Json = False,
) -> None:
    """List registered keys."""
    from taskgate.api.ssh_shapes import KeyShown

    found = signed_in().get_list("/v1/ssh/keys", KeyShown, all="true" if everyone else None)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "WHO", "FINGERPRINT", "LABEL", "ADDED", "LAST USED"),
        (
            (
                one.id,
                one.who,
                one.fingerprint,
                one.label,
                at(one.added_at),
                at(one.last_used_at) if one.last_used_at is not None else "never",
            )
            for one in found
        ),
        "none; taskgate keys add FILE.pub registers one",
    )


def remove(key: Annotated[str, typer.Argument(help="Its id, as the list shows it.")]) -> None:
    """Take a key away; sessions that were opened with it end."""
    signed_in().send("DELETE", path("ssh", "keys", key))
    tell(f"{key} is gone")


def _signed(file: Path, challenge: KeyChallenge) -> str:
    """The challenge's signature by that key. Raises: Stop."""
    private = file.with_suffix("")
    key = private if file.suffix == ".pub" and private.exists() else file
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", challenge.namespace, "-f", str(key)]
    try:
        # A passphrase is asked for on the terminal.
        done = subprocess.run(  # noqa: S603
            command, input=challenge.text, stdout=subprocess.PIPE, text=True, check=False
        )
    except OSError as error:
        stop(f"cannot run ssh-keygen: {error.strerror}", Exit.FAILED, hint="it comes with OpenSSH")
    if done.returncode != 0:
        stop(
            f"ssh-keygen did not sign with the private key of {file}", Exit.USAGE,
            hint="have the private key beside it, or in ssh-agent (ssh-add)",
        )  # fmt: skip
    return done.stdout


def _fresh_key() -> tuple[str, str]:
    """A public and a private Ed25519 key in OpenSSH's form."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    return public.decode(), private.decode()


def _place() -> str:
    return f"{profiles.profile_name()}.ssh"


def _quoted(file: Path) -> str:
    text = str(file)
    home = os.path.expanduser("~")
    shown = "~" + text.removeprefix(home) if text.startswith(home + "/") else text
    return f'"{shown}"' if " " in shown else shown
