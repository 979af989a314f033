"""Files that are for whoever asked alone."""

import os


def new_private(name: str, flags: int) -> int:
    """An `opener` for `open`: mode 0600."""
    return os.open(name, flags, 0o600)
