"""Hides values of some kinds wherever they show in text."""

from collections.abc import Sequence

from taskgate.masking.detectors import Span, detectors_for
from taskgate.masking.plan import MaskCounts
from taskgate.masking.transforms import Hider
from taskgate.model.masks import KindMask, Transform, TransformKind


class KindMasker:
    """The kind masks of a task, ready to run. Counts what it hides in `counts`."""

    __slots__ = ("_detectors", "_hider", "_masks", "counts")

    def __init__(
        self, masks: Sequence[KindMask], key: bytes = b"", counts: MaskCounts | None = None
    ) -> None:
        """`key` is the hash key. Of two masks for one kind the first counts.

        Raises: BadConfig for an unknown kind, or a hash without a key.
        """
        self._masks: dict[str, KindMask] = {}
        for mask in masks:
            self._masks.setdefault(mask.kind, mask)
        self._detectors = detectors_for(frozenset(self._masks))
        self._hider = Hider(key)
        self._hider.check(tuple(mask.transform for mask in masks))
        self.counts = MaskCounts() if counts is None else counts

    def __bool__(self) -> bool:
        return bool(self._masks)

    def may_contain(self, data: bytes) -> bool:
        """False only if nothing within `data`, however cut up, can be a value to hide."""
        return self._detectors.may_contain(data)

    def first_hint(self, data: bytes, start: int) -> int:
        """Where, from `start` on, the first thing stands that may be part of a value; -1 if there
        is none. No hint spans a zero byte: values joined by one are told apart."""
        return self._detectors.first_hint(data, start)

    def find(self, data: bytes) -> list[Span]:
        """The values to hide in `data`, offsets in bytes."""
        return self._detectors.find_bytes(data)

    def count(self, spans: Sequence[Span]) -> None:
        """Counts `spans` as hidden."""
        for span in spans:
            self.counts.kinds[span.kind] += 1
            self.counts.rules[self._masks[span.kind].rule] += 1

    def transform(self, kind: str) -> Transform:
        return self._masks[kind].transform

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it looks for, the weightiest first."""
        return self._detectors.kinds

    def shown_for(self, kind: str, value: bytes | None) -> bytes:
        """What stands for a value of `kind` in a stream, empty where its mask says NULL. `value` is
        None where it is not known whole: then nothing of it is kept or hashed."""
        transform = self._masks[kind].transform
        if value is not None or transform.kind in (TransformKind.NULL, TransformKind.CONSTANT):
            return self._replacement(value or b"", kind, "utf-8") or b""
        return f"[masked:{kind}]".encode()

    def hide(self, data: bytes, encoding: str = "utf-8") -> bytes | None:
        """`data` (text in `encoding`) with its values hidden; None if the whole becomes NULL.

        The same object comes back where there is nothing to hide.
        """
        return self.hide_hinted(data, encoding) if self.may_contain(data) else data

    def hide_hinted(self, data: bytes, encoding: str = "utf-8") -> bytes | None:
        """As `hide`, for `data` of which `may_contain` or `first_hint` said yes."""
        spans = self._detectors.find_hinted(data)
        if not spans:
            return data
        self.count(spans)
        out: list[bytes] = []
        done = 0
        for span in spans:
            replacement = self._replacement(data[span.start : span.end], span.kind, encoding)
            if replacement is None:
                return None
            out.append(data[done : span.start])
            out.append(replacement)
            done = span.end
        out.append(data[done:])
        return b"".join(out)

    def hide_text(self, text: str) -> str:
        """`text` with its values hidden; where a mask says NULL they are redacted."""
        data = text.encode("utf-8", "surrogatepass")
        spans = self._detectors.find_bytes(data)
        if not spans:
            return text
        self.count(spans)
        out = bytearray(data)
        for span in reversed(spans):
            found = self._replacement(data[span.start : span.end], span.kind, "utf-8")
            if found is None:
                found = f"[masked:{span.kind}]".encode()
            out[span.start : span.end] = found
        return out.decode("utf-8", "surrogatepass")

    def _replacement(self, value: bytes, kind: str, encoding: str) -> bytes | None:
        transform = self._masks[kind].transform
        try:
            text = value.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            # Cut within a character, or not in the encoding it should be in: show nothing of it.
            if transform.kind is TransformKind.NULL:
                return None
            return f"[masked:{kind}]".encode()
        hidden = self._hider.hide(transform, text, kind)
        if hidden is None:
            return None
        return hidden.encode(encoding, "replace")
