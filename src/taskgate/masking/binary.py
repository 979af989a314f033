"""Whether a stream is no text: then no detector can tell what is in it."""

from typing import Final

# What compressed files, images and programs begin with, as `file` knows them (magic(5)).
_MAGIC: Final = (
    b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18", b"7z\xbc\xaf\x27\x1c", b"\x7fELF", b"%PDF-", b"\x89PNG", b"\xff\xd8\xff",
    b"GIF8", b"SQLite format 3", b"\xff\xfe", b"\xfe\xff",
)  # fmt: skip
# What text has of control characters: BEL, BS, TAB, LF, VT, FF, CR, ESC.
_TEXT_CONTROL: Final = b"\x07\x08\t\n\x0b\x0c\r\x1b"
_NO_TEXT: Final = bytes(sorted(set(range(32)) - set(_TEXT_CONTROL)))
# Text in another encoding has some bytes that are no UTF-8; of what was compressed, half are none.
_MOST: Final = 0.25


def looks_binary(block: bytes) -> bool:
    """Whether the beginning of a stream says that it is no text."""
    if b"\0" in block or block.startswith(_MAGIC):
        return True
    odd = len(block) - len(block.translate(None, _NO_TEXT))
    if not block.isascii():
        # What the block's end cuts in two is no fault of it.
        odd += block.decode("utf-8", "replace").rstrip("\ufffd").count("\ufffd")
    return odd > _MOST * len(block)
