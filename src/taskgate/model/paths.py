"""Absolute paths as names: their folders are the parts.

The root is a part of its own, so that `/` is a name and not the lack of one. Paths are compared as
they are written, so they are made plain first: no `.`, no `..`, no empty part. What a symbolic
link stands for only the host knows; whoever has asked it hands in the answer.
"""

_ROOT = "/"


def split_path(path: str) -> tuple[str, ...]:
    """`("/", "srv", "app")` of `/srv/app`.

    Raises: ValueError for a relative path, and for one that is not plain.
    """
    if not path.startswith(_ROOT):
        raise ValueError(f"not an absolute path: {path!r}")
    parts = path[1:].split("/") if path != _ROOT else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"not a plain path: {path!r}")
    return (_ROOT, *parts)


def plain_path(path: str) -> str:
    """The path with what says nothing left out: `//`, `/./`, a slash at its end.

    Raises: ValueError for a relative path; and for `..`, which is another folder where the one
    before it is a symbolic link.
    """
    if not path.startswith(_ROOT):
        raise ValueError(f"not an absolute path: {path!r}")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise ValueError(f"not a plain path: {path!r}")
    return _ROOT + "/".join(parts)
