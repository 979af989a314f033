"""What OpenSSH's programs need to go through the gate: a configuration, the gate's host key, and
the token where they ask for a password.

OpenSSH takes no configuration from its environment. So the command gets a folder at the front of
its PATH with `ssh`, `scp` and `sftp` that name the configuration; rsync, git and Ansible find these
too.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from taskgate.cli import profile as profiles
from taskgate.cli.exits import Exit, stop

if TYPE_CHECKING:
    from taskgate.api.shapes import Connection

_CONFIG = """\
# Written by taskgate.
Host {name} {name}.gate
  HostName {host}
  Port {port}
  User {user}
  UserKnownHostsFile "{known}"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  PreferredAuthentications password
  NumberOfPasswordPrompts 1
  IdentityAgent none
Match all
Include config
"""
# What stands on the command line comes before the configuration. Ansible forbids passwords there
# where it has none itself, and `sftp -b` any question.
_PROGRAM = """\
#!/bin/sh
for one in "$@"; do
  case "$one" in
    {places})
      exec {program} -F {config} -o BatchMode=no -o PasswordAuthentication=yes \\
        -o PreferredAuthentications=password "$@" ;;
  esac
done
exec {program} -F {config} "$@"
"""
_ASKPASS = '#!/bin/sh\nprintf "%s\\n" "$TASKGATE_SSH_TOKEN"\n'


def ssh_settings(reach: Connection, token: str) -> Mapping[str, str]:
    """The environment under which `ssh NAME` reaches the resource NAME through the gate.

    Raises: Stop where OpenSSH's client is not installed.
    """
    place = f"{profiles.profile_name()}.ssh/{reach.user}"
    known = profiles.write_private(f"{place}/known_hosts", reach.known_hosts + "\n")
    config = profiles.write_private(
        f"{place}/config",
        _CONFIG.format(
            name=reach.resource, host=reach.host, port=reach.port, user=reach.user, known=known
        ),
    )
    askpass = profiles.write_private(f"{place}/askpass", _ASKPASS)
    askpass.chmod(0o700)
    for name in ("ssh", "scp", "sftp"):
        program = shutil.which(name)
        if program is None:
            stop(f"there is no {name}", Exit.COMMAND_NOT_FOUND, hint="install OpenSSH's client")
        text = program_text(program, str(config), reach.resource)
        profiles.write_private(f"{place}/bin/{name}", text).chmod(0o700)
    return {
        "PATH": f"{config.parent / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "SSH_ASKPASS": str(askpass),
        "SSH_ASKPASS_REQUIRE": "force",
        "TASKGATE_SSH_TOKEN": token,
        "TASKGATE_SSH_HOST": reach.resource,
    }


def program_text(program: str, config: str, resource: str) -> str:
    """The script that stands before one of OpenSSH's programs."""
    return _PROGRAM.format(
        places=_places(resource), program=shlex.quote(program), config=shlex.quote(config)
    )


def _places(name: str) -> str:
    """Shell patterns for every way to name that host: `web-1`, `user@web-1.gate`, `[web-1]`, each
    with a path behind it or without."""
    plain = [f"{name}{end}" for end in ("", ".gate")]
    hosts = [shlex.quote(host) for one in plain for host in (one, f"[{one}]")]
    return "|".join(
        f"{user}{host}{path}" for host in hosts for user in ("", "*@") for path in ("", ":*")
    )
