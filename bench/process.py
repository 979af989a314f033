"""What a process has used, from /proc (proc(5)): CPU seconds and memory, its children included."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Watched:
    """One process by its id."""

    pid: int

    def cpu_s(self) -> float:
        """User and system seconds of all its threads so far."""
        return sum(self._cpu_of(pid) for pid in self._family())

    def loop_cpu_s(self) -> float:
        """Of its first thread alone, which runs the event loop; not of what works beside it."""
        taken_ns = Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]
        return int(taken_ns) / 1e9

    def rss_kib(self) -> int:
        return sum(self._status(pid, "VmRSS") for pid in self._family())

    def pss_kib(self) -> int:
        """As RSS, but what several processes share is divided among them (proc_pid_smaps(5))."""
        return sum(self._shared(pid) for pid in self._family())

    def peak_rss_kib(self) -> int:
        """The highest RSS since `forget_peak`."""
        return sum(self._status(pid, "VmHWM") for pid in self._family())

    def forget_peak(self) -> None:
        for pid in self._family():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _family(self) -> list[int]:
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo.extend(int(child) for child in (task / "children").read_text().split())
        return found

    def _cpu_of(self, pid: int) -> float:
        # The command's name may hold spaces; fields count from the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def _shared(self, pid: int) -> int:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        return 0

    def _status(self, pid: int, key: str) -> int:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        return 0
