"""Ways round the rules for files, each tried by OpenSSH's sftp at a real host: the user is refused
and told which path it came to, and nothing has changed or arrived."""

import contextlib
from pathlib import Path

import pytest

from tests.ssh_files import app, place
from tests.ssh_setting import SshSetting, ssh_host

__all__ = ["app", "place", "ssh_host"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["get APP/secret"], "nobody reads it"),
        (["get APP/s2"], "nobody reads it"),
        (["put LOCAL APP/kept/k"], "kept as it is"),
        (["put LOCAL APP/k2/k"], "kept as it is"),
        (["rm APP/kept/k"], "kept as it is"),
        (["rename APP/kept APP/free"], "kept as it is"),
        (["rename APP/one APP/kept/one"], "kept as it is"),
        (["rename APP/kept/k APP/k"], "kept as it is"),
        (["chmod 777 APP/kept/k"], "kept as it is"),
        (["get APP/passwd"], "list /etc/passwd"),
        (["get /etc/passwd"], "list /etc/passwd"),
        (["get APP/etc/passwd"], "list /etc/passwd"),
        (["get APP/../../../../etc/passwd"], "list /etc/passwd"),
        (["ls APP/etc/"], "list /etc"),
        (["put LOCAL APP/etc/new"], "write /etc/new"),
        (["ln -s /etc/passwd APP/p"], "link /etc/passwd"),
        (["ln -s ../../../../../etc/passwd APP/p"], "link /etc/passwd"),
        (["ln /etc/passwd APP/p"], "link /etc/passwd"),
        (["ln APP/secret APP/p"], "nobody reads it"),
        (["rename APP/one /tmp/one"], "rename /tmp/one"),
        (["chmod 4755 /etc/passwd"], "attributes /etc/passwd"),
        (["mkdir /tmp/x-new"], "write /tmp/x-new"),
        (["rm /etc/passwd"], "remove /etc/passwd"),
    ],
)  # fmt: skip
def test_what_no_path_permits(
    place: SshSetting, app: Path, tmp_path: Path, lines: list[str], said: str
) -> None:
    local = tmp_path / "local"
    local.write_text("changed\n")
    before = place.host.run(f"ls -lR --time-style=full-iso {app}; cat {app}/kept/k {app}/secret")
    with contextlib.chdir(tmp_path):
        done = place.sftp(
            "files", *(one.replace("APP", str(app)).replace("LOCAL", str(local)) for one in lines)
        )
    assert done.returncode != 0
    assert said in done.stderr, done.stderr
    assert (
        place.host.run(f"ls -lR --time-style=full-iso {app}; cat {app}/kept/k {app}/secret")
        == before
    )
    assert [path.name for path in tmp_path.iterdir()] == ["local"]
