"""Rewrites rows as a mask plan says: DataRow frames in, DataRow frames out.

Only planned fields are touched. Where only content is searched for, a run of rows is looked at as
one piece of bytes first; most runs hold nothing and go through as they are.

Source: PostgreSQL documentation, "Message Formats", DataRow.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError

from taskgate.masking.plan import MaskCounts, MaskPlan
from taskgate.model.errors import OverLimit, ProtocolViolation
from taskgate.model.limits import MAX_MASKED_ROW_BYTES
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.field_steps import FieldStep, ready_steps, with_length
from taskgate.protocols.postgres.shapes import Shape, shape_of
from taskgate.protocols.postgres.values import format_of

_HEAD = Struct("!BiH")
_LENGTH = Struct("!i")


def _last_step(steps: Sequence[FieldStep | None]) -> int:
    """How many fields must be walked to reach the last one with a step."""
    return max((at + 1 for at, step in enumerate(steps) if step is not None), default=0)


class RowRewriter:
    """Rewrites the rows of one result."""

    __slots__ = ("_count", "_steps", "_walk_all", "_walk_masks", "counts")

    def __init__(
        self,
        plan: MaskPlan,
        type_oids: Sequence[int],
        formats: Sequence[int],
        key: bytes = b"",
        *,
        user_types: Mapping[int, Shape] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """`formats` are the fields' format codes, `key` is the hash key, `user_types` the shapes
        of types that are not built in, `encoding` is the client encoding's Python name.

        Raises: BadConfig if a mask hashes without a key, ProtocolViolation if the numbers of
        fields differ or a format is unknown.
        """
        known = user_types or {}
        shapes = [known.get(oid) or shape_of(oid) for oid in type_oids]
        self._steps = ready_steps(plan, shapes, [format_of(f) for f in formats], key, encoding)
        self._count = len(type_oids)
        self.counts = MaskCounts()
        """What was hidden so far."""
        self._walk_masks = self._steps.masks[: _last_step(self._steps.masks)]
        self._walk_all = self._steps.all_[: _last_step(self._steps.all_)]

    def again(self) -> "RowRewriter":
        """A rewriter for another result of the same plan, with counts of its own. Much cheaper
        than making one from the plan; the two may be used in turns."""
        other = RowRewriter.__new__(RowRewriter)
        other._count = self._count
        other._steps = self._steps
        other._walk_all = self._walk_all
        other._walk_masks = self._walk_masks
        other.counts = MaskCounts()
        return other

    def rewrite(self, frames: bytes) -> bytes:
        """Whole DataRow frames, rewritten; the same object where nothing had to be.

        Rows are read as far as the last field that a plan touches. Where their bytes hold nothing
        that could be a value, they are not read.

        Raises: ProtocolViolation if a frame is no DataRow of the plan's fields, OverLimit for a
        row that is too long to be masked.
        """
        steps = self._steps
        hint = -1
        if steps.readable:
            hint = steps.masker.first_hint(frames, 0)
        if hint < 0 and not steps.unreadable and not self._walk_masks:
            return frames
        try:
            return self._rewrite(frames, hint)
        except (StructError, IndexError):
            raise ProtocolViolation("the resource sent a row that is cut short") from None

    def rewrite_row(self, body: bytes) -> bytes:
        """One DataRow's body (without type and length), rewritten.

        Raises: as `rewrite`.
        """
        frame = bytes((tags.DATA_ROW,)) + _LENGTH.pack(len(body) + 4) + body
        return self.rewrite(frame)[5:]

    def finish(self) -> bytes:
        """Rows need no end of their own."""
        return b""

    def _rewrite(self, frames: bytes, hint: int) -> bytes:
        """`hint` is where the first thing stands that a search might find, -1 for none."""
        head, length_at, pack = _HEAD.unpack_from, _LENGTH.unpack_from, _LENGTH.pack
        first_hint = self._steps.masker.first_hint
        # Rewriters of the same plan share the masker.
        self._steps.masker.counts = self.counts
        rules = self.counts.rules
        hinted = self._walk_all
        # What is done to a row without a hint.
        plain = self._walk_all if self._steps.unreadable else self._walk_masks
        out: list[bytes] = []
        copied = 0
        pos = 0
        end = len(frames)
        if hint < 0:
            hint = end
        while pos < end:
            tag, length, count = head(frames, pos)
            row_end = pos + 1 + length
            if tag != tags.DATA_ROW or length < 6 or row_end > end or count != self._count:
                raise _broken_row(tag, count, self._count)
            if length > MAX_MASKED_ROW_BYTES:
                raise _long_row()
            walk = hinted if hint < row_end else plain
            at = body_copied = pos + 7
            body: list[bytes] = []
            grown = 0
            for step in walk:
                start = at
                size = length_at(frames, at)[0]
                at += 4
                if size < 0:
                    if size != -1:
                        raise ProtocolViolation("the resource sent a field of negative length")
                    if step is None or not step.nulls or step.fixed is None:
                        continue
                    size = 0
                at += size
                if at > row_end:
                    raise ProtocolViolation("the resource sent a field longer than its row")
                if step is None:
                    continue
                piece = step.fixed
                if piece is None:
                    if step.readable:
                        # No hint depends on what is before it, so that one behind this field's
                        # start is the first from there on; an earlier one says nothing of it.
                        if hint < start + 4:
                            hint = first_hint(frames, start + 4)
                            if hint < 0:
                                hint = end
                        if hint >= at:
                            continue
                    value = frames[start + 4 : at]
                    new = step.op(value) if step.op is not None else None
                    if new is value:
                        continue
                    piece = with_length(new)
                if step.rule:
                    rules[step.rule] += 1
                body += (frames[body_copied:start], piece)
                body_copied = at
                grown += len(piece) - size - 4
            if len(walk) == self._count and at != row_end:
                raise ProtocolViolation("the resource sent a row longer than its fields")
            if body:
                out += (frames[copied : pos + 1], pack(length + grown), frames[pos + 5 : pos + 7])
                out += body
                copied = body_copied
            pos = row_end
        if not copied:
            return frames
        out.append(frames[copied:])
        return b"".join(out)


def _long_row() -> OverLimit:
    # Its length would tell how long the values are that are to be hidden.
    return OverLimit(
        f"a row is too long to be masked: at most {MAX_MASKED_ROW_BYTES} bytes are",
        hint="Leave out its longest columns, or cut them with substr().",
    )


def _broken_row(tag: int, count: int, planned: int) -> ProtocolViolation:
    if tag != tags.DATA_ROW:
        return ProtocolViolation(f"the resource sent a message of type {tag} among its rows")
    if count != planned:
        return ProtocolViolation(
            f"the resource sent a row of {count} fields where {planned} were described"
        )
    return ProtocolViolation("the resource sent a row whose length is wrong")
