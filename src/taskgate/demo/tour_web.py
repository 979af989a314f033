"""The tour at the web host: commands and files over SSH."""

import json
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


def log_masked(visitor: Visitor) -> str:
    real = visitor.shop.host.read("/var/log/web/app.log").splitlines()[-5:]
    shown = good(visitor.ssh(ENG, "web-operate", "tail -n 5 var/log/web/app.log"))
    must(len(shown.splitlines()) == 5, f"{len(shown.splitlines())} lines instead of 5")
    secret = [word for line in real for word in line.split() if "@" in word or word.isdigit()]
    must(len(secret) > 3, "the log has nothing to hide")
    through = [word for word in secret if len(word) > 12 and word in shown]
    must(not through, f"{through} came through")
    return last(shown)


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


def shell_held(visitor: Visitor) -> str:
    with visitor.start_exec(ENG, "web-shell", "ssh", "-tt", "web-1") as waiting:
        approval = visitor.waiting_approval(LEA, "shell")
        good(visitor.cli(LEA, "approve", approval))
        out, err = waiting.communicate("echo six times seven is $((6 * 7))\nexit\n", PATIENCE_S)
    must("six times seven is 42" in out, f"it said {last(out)} {last(err)}")
    return "lea approved; a terminal at the host"


def shell_recorded(visitor: Visitor) -> str:
    for line in _replay_of(visitor, "web-shell", "six times seven is 42", "--json").splitlines():
        event = json.loads(line)
        if event["kind"] == "terminal.output" and "is 42" in event["facts"].get("text", ""):
            return "what eng saw, and when"
    raise NotAsPromised("what the terminal showed is not in it")


def page_reached(visitor: Visitor) -> str:
    asked = "GET / HTTP/1.0\r\n\r\n"
    port, other = visitor.shop.host.page_port, visitor.shop.gate.ports.postgres
    shown = good(
        visitor.exec(ENG, "web-page", "ssh", "-W", f"localhost:{port}", "web-1", text_in=asked)
    )
    must("2 June 2025" in shown, f"it said {last(shown)}")
    said = visitor.exec(ENG, "web-page", "ssh", "-W", f"localhost:{other}", "web-1", text_in=asked)
    must(said.status != 0 and "prohibited" in said.err, f"it said {last(said.out + said.err)}")
    return "the page; and no other port"


def _replay_of(visitor: Visitor, task: str, part: str, how: str = "--at-once") -> str:
    for session in visitor.ask(AUD, "sessions", "--all"):
        if session["task"] == task:
            shown = good(visitor.cli(AUD, "replay", session["id"], how))
            if part in shown:
                return shown
    raise NotAsPromised(f"no session of {task} with {part!r} was recorded")


def session_replayed(visitor: Visitor) -> str:
    shown = _replay_of(visitor, "web-operate", "systemctl restart web")
    must("lea" in shown, "who approved is not in it")
    return f"{len(shown.splitlines())} lines, with who approved"


STOPS = (
    Stop("A permitted command runs at a host", command_runs),
    Stop("Another is refused, by rule", command_refused),
    Stop("... and so is a line that has one in it", line_refused),
    Stop("Cards and e-mail in a log arrive masked", log_masked),
    Stop("A held restart runs once lea approves", restart_held),
    Stop("A log is fetched by scp", log_fetched),
    Stop("Uploads are taken, releases are not", file_left),
    Stop("A file outside the task stays there", file_unseen),
    Stop("A shell opens once lea approves", shell_held),
    Stop("... and its terminal is in the recording", shell_recorded),
    Stop("A page at the host is reached by ssh -W", page_reached),
    Stop("ssh trusts no server but the gate", server_unknown_to_client),
    Stop("... nor the gate a host with another key", host_unknown_to_gate),
    Stop("Replay shows the restart", session_replayed),
)
