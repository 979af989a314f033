"""What `rsync --server` lines say."""

import pytest

from taskgate.protocols.ssh.commands import read_command
from taskgate.protocols.ssh.transfers import read_transfer

USUAL = [
    "-logDtpre.iLsfxCIvu", "-vlogDtprze.iLsfxCIvu", "-lHogDtpAXre.iLsfxCIvu", "-tre30.12iLs",
    "-vvn", "--log-format=X", "--log-format=%i%I", "--append", "--partial", "--inplace",
    "--bwlimit=100", "--compress-choice=zstd", "--modify-window=-1", "-B8192", "-@-1",
    "--max-size=1.5G", "--skip-compress=gz/zip", "--safe-links", "--remove-source-files",
]  # fmt: skip
SPELLED = [
    "--delete", "--delete-during", "--delete-excluded", "--force", "--backup-dir", "--temp-dir",
    "--partial-dir", "--compare-dest", "--copy-dest", "--link-dest", "--files-from=-",
    "--files-from=/etc/passwd", "--log-file=/x", "--daemon", "--config=/x", "--rsync-path=x",
    "--write-batch=x", "--only-write-batch=X", "--read-batch=x", "--munge-links", "--fake-super",
    "--copy-unsafe-links", "--copy-links", "--copy-devices", "--write-devices", "--usermap=*:root",
    "--debug=all", "--log-format=%h", "--suffix=/x", "--filter=. /etc/shadow", "--rsh=x",
    "--max-alloc=0", "--nobody-knows", "-e", "-M", "-M--log-file=/x", "-slogDtpre.iLsfxCIvu",
    "-vLe.iLsfxCIvu", "-Kre.iLs", "-ke.iLs", "-f. /etc/shadow", "-T", "-e sh", "-rfe.iLs", "-",
    "--",
    "--compress-level=5;x", "--info=x y", "--iconv=x", "--server", "--remove-source-files=x", "--s",
]  # fmt: skip


@pytest.mark.parametrize("option", USUAL)
def test_what_a_star_may_stand_for(option: str) -> None:
    read = read_transfer(("rsync", "--server", option, ".", "/srv/app/"))
    assert read is not None
    assert read.guarded == (1, 3)
    assert read.effects == (("write", "/srv/app"),)


@pytest.mark.parametrize("option", SPELLED)
@pytest.mark.parametrize("sender", [(), ("--sender",)])
def test_what_a_rule_must_spell_out(sender: tuple[str, ...], option: str) -> None:
    words = ("rsync", "--server", *sender, option, ".", "/srv/app/")
    read = read_transfer(words)
    assert read is not None
    assert words.index(option, 2) in read.guarded


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("rsync --server --sender -re.iLs . /a /b/", ["read /a", "read /b"]),
        ("rsync --server -re.iLs --delete . /a", ["write /a", "remove /a"]),
        ("rsync --server --sender -re.iLs --remove-source-files . /a", ["read /a", "remove /a"]),
        ("rsync --server -re.iLs --remove-source-files . /a", ["write /a"]),
        ("rsync --server -re.iLs . a", ["write /"]),
        ("rsync --server -re.iLs . /a/../b", ["write /"]),
        ("rsync --server -sre.iLs", ["write /"]),
        ("sudo rsync --server -re.iLs . /a", ["write /a"]),
        ("sudo -u root /usr/bin/rsync --server --sender -re.iLs . /a", ["read /a"]),
        ("sh -c 'rsync --server -re.iLs . /a'", ["write /a"]),
        ("rsync --server -re.iLs . /a*", ["write /"]),
        ("rsync -a /a host:/b", []),
    ],
)
def test_which_folders_count_for_denies(text: str, reached: list[str]) -> None:
    actions = read_command(text).actions
    trees = [action for action in actions if action.kind == "tree"]
    assert [f"{action.verb} {action.object}" for action in trees] == reached
    assert all(action.via for action in trees)
