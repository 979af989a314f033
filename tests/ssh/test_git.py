"""git through the gate: fetched from, pushed to, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import Host
from tests.ssh_clients import documented_tasks, need, run_through
from tests.ssh_setting import SshSetting, running_ssh_gate

OWN = {
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(ssh_host: Host) -> Iterator[SshSetting]:
    need("git", "git")
    with running_ssh_gate(ssh_host, documented_tasks(ssh_host)) as found:
        yield found


@pytest.fixture(params=["app.git", "two words' [x].git"])
def repository(place: SshSetting, request: pytest.FixtureRequest) -> str:
    """A bare repository with one commit, made at the host."""
    path = place.home / "git" / str(request.param)
    place.host.run(
        f"export HOME={place.home}; rm -rf {place.home}/git; mkdir -p {place.home}/git; cd"
        f' {place.home}/git; git init -q --bare -b main "{path}"; rm -rf ../w; git init -q -b main'
        " ../w; cd ../w; echo one > one; git add one; git -c user.name=a -c user.email=a@b commit"
        f' -qm one; git push -q "{path}" main'
    )
    return str(path)


def test_clone_fetch_and_push(place: SshSetting, repository: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"

    def git(task: str, *arguments: str) -> str:
        done = run_through(place, task, "git", "-C", copy, *arguments, more=OWN)
        assert done.returncode == 0, done.stderr
        return done.stdout

    done = run_through(
        place, "git-fetch", "git", "clone", "-q", f"HOST:{repository}", copy, more=OWN
    )
    assert done.returncode == 0, done.stderr
    assert (copy / "one").read_text() == "one\n"
    (copy / "two").write_text("2")
    git("git-push", "add", "two")
    git("git-push", "commit", "-qm", "two")
    where = f"git-push@localhost:{repository}"
    from_there = f"git-fetch@localhost:{repository}"
    git("git-push", "push", "-q", where, "main")
    assert place.host.run(f'git -C "{repository}" log --format=%s main').split() == ["two", "one"]
    git("git-fetch", "fetch", "-q", from_there, "main")
    assert "one" in git("git-fetch", "archive", f"--remote={from_there}", "main")
    refused = run_through(
        place, "git-fetch", "git", "-C", copy, "push", f"HOST:{repository}", "main:x", more=OWN
    )
    assert refused.returncode != 0
    assert "no rule of task git-fetch permits it" in refused.stderr


def test_the_second_version_of_its_protocol(place: SshSetting, repository: str) -> None:
    trace = {**OWN, "GIT_TRACE_PACKET": "1"}
    done = run_through(place, "git-push", "git", "ls-remote", f"HOST:{repository}", more=trace)
    assert done.returncode == 0, done.stderr
    assert "refs/heads/main" in done.stdout
    assert "< version 2" in done.stderr


def test_another_program_for_git_is_refused(
    place: SshSetting, repository: str, tmp_path: Path
) -> None:
    mark = place.host.mark()
    for program in ("id;", "sh -c id", "git -c core.pager=id upload-pack"):
        done = run_through(
            place, "git-fetch", "git", "clone", "--upload-pack", program, f"HOST:{repository}",
            tmp_path / "x", more=OWN,
        )  # fmt: skip
        assert done.returncode != 0
        assert "taskgate: " in done.stderr
    assert place.host.commands_since(mark) == []
