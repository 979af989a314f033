"""`python -m taskgate.demo [run | tour | clean]`"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from rich.console import Console

from taskgate.demo import guide, tour
from taskgate.demo.cluster import ClusterFault
from taskgate.demo.gate import GateFault
from taskgate.demo.host import HostFault
from taskgate.demo.shop import Shop, remove


def _state() -> Path:
    return Path(os.environ.get("TASKGATE_DEMO_STATE", "demo-state"))


def run() -> int:
    """Runs the demo until a signal; its state stays for the next time."""
    console = Console(highlight=False)
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    resumed = (_state() / "demo.json").exists()
    with console.status("starting the shop's database, its web host and the gate"):
        shop = Shop(_state())
        shop.start()
    try:
        guide.show(console, shop, resumed=resumed)
        while not ending.wait(0.5):
            if not (shop.cluster.running and shop.host.running and shop.gate.running):
                console.print(f"[red]a part of the demo ended; see {shop.gate.log}[/]")
                return 1
    finally:
        with console.status("stopping; the state stays in demo-state"):
            shop.stop()
    return 0


def take_tour() -> int:
    """The tour on a demo of its own, which is gone afterwards."""
    console = Console(highlight=False, width=max(100, Console().width))
    directory = Path(tempfile.mkdtemp(prefix="taskgate-tour-"))
    directory.chmod(0o755)
    shop: Shop | None = None
    try:
        with console.status("starting the shop's database, its web host and the gate"):
            shop = Shop(directory, own_ports=True)
            shop.start()
        kept = tour.take(shop, lambda seen: guide.show_seen(console, seen))
        if not kept:
            console.print(f"\n[red]not as promised; the gate's log ends with:[/]\n{_tail(shop)}")
            return 1
        console.print(f"\nall {len(tour.STOPS)} as promised")
        return 0
    finally:
        if shop is not None:
            shop.stop()
        remove(directory)


def _tail(shop: Shop) -> str:
    with contextlib.suppress(OSError):
        return shop.gate.log.read_text(errors="replace")[-3000:]
    return ""


def clean() -> int:
    """Removes the state of a demo that has been stopped."""
    remove(_state())
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="taskgate.demo")
    parser.add_argument("what", nargs="?", choices=("run", "tour", "clean"), default="run")
    asked = parser.parse_args().what
    try:
        return {"run": run, "tour": take_tour, "clean": clean}[asked]()
    except (ClusterFault, GateFault, HostFault, PermissionError) as fault:
        print(f"demo: {fault}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
