"""The tour at the web host: commands and files over SSH."""

import tempfile
from pathlib import Path

from taskgate.demo.host import new_key
from taskgate.demo.people import ANA, AUD, ENG, LEA
from taskgate.demo.stops import Stop, good, last, must
from taskgate.demo.visitor import PATIENCE_S, NotAsPromised, Said, Visitor

_REFUSED = 126
_FAULT = 125


def _said_by_gate(said: Said) -> str:
    """The first line that is the gate's; OpenSSH may have said something before."""
    return next((line for line in said.err.splitlines() if "taskgate" in line), last(said.err))


def command_runs(visitor: Visitor) -> str:
    shown = good(visitor.ssh(ENG, "web-operate", "systemctl status web"))
    must("Active: active" in shown, f"it said {last(shown)}")
    return shown.splitlines()[1].strip()


def command_refused(visitor: Visitor) -> str:
    said = visitor.ssh(ENG, "web-operate", "rm -rf srv/app/releases")
    must(said.status == _REFUSED, f"it ended with {said.status}: {last(said.err)}")
    must("web-operate/deny[0]" in said.err, f"the rule is not named: {said.err}")
    must(visitor.shop.host.has("/srv/app/releases"), "it ran")
    return _said_by_gate(said)


def line_refused(visitor: Visitor) -> str:
    before = visitor.shop.host.read("/var/log/web/journal.log")
    said = visitor.ssh(
        ENG, "web-operate", "tail -n 2 var/log/web/app.log | tee -a var/log/web/journal.log"
    )
    must(said.status == _REFUSED and not said.out, f"it said {said.out[:60]} {last(said.err)}")
    must(visitor.shop.host.read("/var/log/web/journal.log") == before, "it ran")
    return _said_by_gate(said)


def restart_held(visitor: Visitor) -> str:
    def restarts() -> int:
        return visitor.shop.host.read("/var/log/web/journal.log").count("restarted by")

    before = restarts()
    with visitor.start_ssh(ENG, "web-operate", "systemctl restart web") as waiting:
        approval = visitor.waiting_approval(LEA, "systemctl restart web")
        must(restarts() == before, "it ran before anyone agreed")
        good(visitor.cli(LEA, "approve", approval))
        out, err = waiting.communicate(timeout=PATIENCE_S)
    shown = good(Said(waiting.returncode, out, err))
    must(restarts() == before + 1, "it was approved and did not run")
    return f"lea approved; {last(shown)}"


def log_fetched(visitor: Visitor) -> str:
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory) / "access.log"
        good(visitor.scp(ANA, "web-files", "web-1:/var/log/web/access.log", str(here)))
        fetched = here.read_text()
    must(fetched == visitor.shop.host.read("/var/log/web/access.log"), "another file came")
    return f"{len(fetched.splitlines())} lines, as they are at the host"


def file_left(visitor: Visitor) -> str:
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory) / "banner.html"
        here.write_text("<p>Lamps, half price.\n")
        good(visitor.scp(ANA, "web-files", str(here), "web-1:/srv/app/uploads/banner.html"))
        arrived = visitor.shop.host.read("/srv/app/uploads/banner.html")
        must(arrived == here.read_text(), "another file arrived")
        said = visitor.scp(
            ANA, "web-files", str(here), "web-1:/srv/app/releases/2025-06-02/index.html"
        )
    must(said.status != 0, "a release was overwritten")
    release = visitor.shop.host.read("/srv/app/releases/2025-06-02/index.html")
    must("2 June 2025" in release, "a release was overwritten")
    must("web-files/deny[0]" in said.err, f"the rule is not named: {said.err}")
    return _said_by_gate(said)


def file_unseen(visitor: Visitor) -> str:
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory) / "web.toml"
        said = visitor.scp(ANA, "web-files", "web-1:/etc/web.toml", str(here))
        must(said.status != 0 and not here.exists(), "it was fetched")
    must("no rule of task web-files" in said.err, f"it said {said.err}")
    return _said_by_gate(said)


def server_unknown_to_client(visitor: Visitor) -> str:
    said = visitor.exec(
        ENG, "web-operate", "ssh", "-p", str(visitor.shop.host.port), "web-1", "uptime"
    )
    must(said.status != 0 and not said.out, f"it said {last(said.out)}")
    must("Host key verification failed" in said.err, f"it said {last(said.err)}")
    return last(said.err)


def host_unknown_to_gate(visitor: Visitor) -> str:
    host = visitor.shop.host
    impostor = host.with_host_key(new_key())
    host.stop()
    try:
        impostor.start()
        said = visitor.ssh(ENG, "web-operate", "uptime")
    finally:
        impostor.stop()
        host.start()
    must(said.status == _FAULT and not said.out, f"it ended with {said.status}: {last(said.err)}")
    must("host key" in said.err, f"it said {last(said.err)}")
    return _said_by_gate(said)


def session_replayed(visitor: Visitor) -> str:
    for session in visitor.ask(AUD, "sessions", "--all"):
        if session["task"] == "web-operate":
            shown = good(visitor.cli(AUD, "replay", session["id"], "--at-once"))
            if "systemctl restart web" in shown:
                must("lea" in shown, "who approved is not in it")
                return f"{len(shown.splitlines())} lines, with who approved"
    raise NotAsPromised("no session with the restart was recorded")


STOPS = (
    Stop("A permitted command runs at a host", command_runs),
    Stop("Another is refused, by rule", command_refused),
    Stop("... and so is a line that has one in it", line_refused),
    Stop("A held restart runs once lea approves", restart_held),
    Stop("A log is fetched by scp", log_fetched),
    Stop("Uploads are taken, releases are not", file_left),
    Stop("A file outside the task stays there", file_unseen),
    Stop("ssh trusts no server but the gate", server_unknown_to_client),
    Stop("... nor the gate a host with another key", host_unknown_to_gate),
    Stop("Replay shows the restart", session_replayed),
)
