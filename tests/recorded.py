"""What a gateway at work has written down, read past it."""

from pathlib import Path

from tests.patience import eventually


def contents(directory: Path) -> dict[Path, bytes]:
    """Every file below `directory`, none missed: a gateway moves files while this looks."""

    def look() -> dict[Path, bytes]:
        before = _files(directory)
        try:
            found = {path: path.read_bytes() for path in before}
        except FileNotFoundError:
            return {}
        return found if _files(directory) == before else {}

    return eventually(look, f"the files of {directory} are moved all the time")


def recorded_text(recordings: Path) -> str:
    """All that is recorded, of sessions that are open and of those that are over."""
    return b"\n".join(contents(recordings).values()).decode(errors="replace")


def _files(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}
