"""Registering a public key by the API, with ssh-keygen's signature as the proof."""

import subprocess
from pathlib import Path

from tests.ssh_setting import SshSetting


def pub(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


def challenge(place: SshSetting, key: Path, who: str = "operator") -> dict[str, str]:
    offered = {"public_key": pub(key)}
    return dict(place.own.ask(who, "POST", "/v1/ssh/keys/challenge", offered))


def signature(key: Path, text: str, namespace: str = "taskgate-key") -> str:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


def register(place: SshSetting, key: Path) -> dict[str, str]:
    proof = signature(key, challenge(place, key)["text"])
    asked = {"public_key": pub(key), "proof": proof}
    return dict(place.own.ask("operator", "POST", "/v1/ssh/keys", asked))
