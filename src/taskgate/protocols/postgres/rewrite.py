"""Rewrites rows as a mask plan says: DataRow frames in, DataRow frames out.

Only planned fields are touched. Where only content is searched for, a run of rows is looked at as
one piece of bytes first; most runs hold nothing and go through as they are.

Source: PostgreSQL documentation, "Message Formats", DataRow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

from taskgate.masking.content import KindMasker
from taskgate.masking.plan import MaskCounts, MaskPlan
from taskgate.masking.transforms import Hider
from taskgate.model.errors import OverLimit, ProtocolViolation
from taskgate.model.limits import MAX_MASKED_ROW_BYTES
from taskgate.protocols.postgres import tags
from taskgate.protocols.postgres.contained import content_op, readable
from taskgate.protocols.postgres.shapes import Shape, shape_of
from taskgate.protocols.postgres.values import FieldOp, fixed_or_op, format_of

_HEAD = Struct("!BiH")
_LENGTH = Struct("!i")
_NULL = _LENGTH.pack(-1)


@dataclass(frozen=True, slots=True)
class FieldStep:
    """What happens to one field. `rule` is empty for a search by content, which counts itself.

    `fixed` is the replacement of every value, as on the wire (None where `op` makes it).
    """

    rule: str
    fixed: bytes | None
    op: FieldOp | None


@dataclass(frozen=True, slots=True)
class FieldSteps:
    """A plan made ready for fields of known types.

    `masks` are the whole-field masks alone, `all_` those and the searches by content; both have
    one entry a field. `readable` are the searched fields whose bytes show what they hold as they
    stand; `unreadable` says that there are others.
    """

    masks: tuple[FieldStep | None, ...]
    all_: tuple[FieldStep | None, ...]
    readable: frozenset[int]
    unreadable: bool
    counts: MaskCounts
    masker: KindMasker

    @property
    def masks_only(self) -> bool:
        """Whether no field is searched by content."""
        return not self.readable and not self.unreadable

    def clean(self, data: bytes) -> bool:
        """Whether no search can find anything in fields within `data`, as its bytes show."""
        return not self.unreadable and (not self.readable or not self.masker.may_contain(data))

    def narrowed(
        self, fields: Sequence[int], values: Sequence[bytes]
    ) -> Sequence[FieldStep | None]:
        """The steps that one row needs: of its readable `fields`, whose `values` they are, those
        that give a hint of something."""
        first_hint = self.masker.first_hint
        joined = b"\0".join(values)
        hint = first_hint(joined, 0)
        if hint < 0 and not self.unreadable:
            return self.masks
        steps = list(self.all_)
        value_end = -1
        for field, value in zip(fields, values, strict=True):
            value_end += len(value) + 1
            if hint < 0 or hint >= value_end:
                steps[field] = None
            else:
                hint = first_hint(joined, value_end)
        return steps


def with_length(data: bytes | None) -> bytes:
    """A field's value as on the wire: its length, then itself; -1 for NULL."""
    return _NULL if data is None else _LENGTH.pack(len(data)) + data


def ready_steps(
    plan: MaskPlan, shapes: Sequence[Shape], binary: Sequence[bool], key: bytes, encoding: str
) -> FieldSteps:
    """Raises: BadConfig if a mask hashes without a key; ProtocolViolation if the plan is for
    another number of fields."""
    if not len(plan.fields) == len(shapes) == len(binary):
        raise ProtocolViolation(
            f"the resource described {len(shapes)} fields and the plan has {len(plan.fields)}"
        )
    hider = Hider(key)
    hider.check(plan.transforms())
    counts = MaskCounts()
    masker = KindMasker(plan.kinds, key, counts)
    masks: list[FieldStep | None] = []
    steps: list[FieldStep | None] = []
    looked_at = set()
    unreadable = False
    for at, (mask, shape, is_binary) in enumerate(zip(plan.fields, shapes, binary, strict=True)):
        if mask is not None:
            replacement = fixed_or_op(mask, shape, is_binary, hider, encoding)
            step = (
                FieldStep(mask.rule, None, replacement)
                if callable(replacement)
                else FieldStep(mask.rule, with_length(replacement), None)
            )
            masks.append(step)
            steps.append(step)
            continue
        masks.append(None)
        op = content_op(shape, is_binary, masker, encoding) if masker else None
        steps.append(None if op is None else FieldStep("", None, op))
        if op is None:
            continue
        if readable(shape, is_binary):
            looked_at.add(at)
        else:
            unreadable = True
    return FieldSteps(tuple(masks), tuple(steps), frozenset(looked_at), unreadable, counts, masker)


def _last_step(steps: Sequence[FieldStep | None]) -> int:
    """How many fields must be walked to reach the last one with a step."""
    return max((at + 1 for at, step in enumerate(steps) if step is not None), default=0)


class RowRewriter:
    """Rewrites the rows of one result."""

    __slots__ = ("_count", "_steps", "_walk_all", "_walk_masks")

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
        self._walk_masks = self._steps.masks[: _last_step(self._steps.masks)]
        self._walk_all = self._steps.all_[: _last_step(self._steps.all_)]

    @property
    def counts(self) -> MaskCounts:
        """What was hidden so far."""
        return self._steps.counts

    def rewrite(self, frames: bytes) -> bytes:
        """Whole DataRow frames, rewritten; the same object where nothing had to be.

        Rows are read as far as the last field that a plan touches. Where their bytes hold nothing
        that could be a value, they are not read.

        Raises: ProtocolViolation if a frame is no DataRow of the plan's fields, OverLimit for a
        row that is too long to be masked.
        """
        steps = self._steps
        walk = self._walk_all
        if not steps.masks_only and steps.clean(frames):
            walk = self._walk_masks
        if not walk:
            return frames
        try:
            return self._rewrite(frames, walk)
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

    def _rewrite(self, frames: bytes, walk: tuple[FieldStep | None, ...]) -> bytes:
        head, length_at, pack = _HEAD.unpack_from, _LENGTH.unpack_from, _LENGTH.pack
        # Where content is searched for, a row's fields are looked at together before each is.
        searches = walk is not self._walk_masks and bool(self._steps.readable)
        rules = self._steps.counts.rules
        out: list[bytes] = []
        copied = 0
        pos = 0
        end = len(frames)
        while pos < end:
            tag, length, count = head(frames, pos)
            row_end = pos + 1 + length
            if tag != tags.DATA_ROW or length < 6 or row_end > end or count != self._count:
                raise _broken_row(tag, count, self._count)
            if length > MAX_MASKED_ROW_BYTES:
                raise _long_row(length)
            row_walk = self._look(frames, pos + 7, row_end) if searches else walk
            at = body_copied = pos + 7
            body: list[bytes] = []
            grown = 0
            for step in row_walk:
                start = at
                size = length_at(frames, at)[0]
                at += 4
                if size < 0:
                    if size != -1:
                        raise ProtocolViolation("the resource sent a field of negative length")
                    continue
                at += size
                if at > row_end:
                    raise ProtocolViolation("the resource sent a field longer than its row")
                if step is None:
                    continue
                piece = step.fixed
                if piece is None:
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
            if len(row_walk) == self._count and at != row_end:
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

    def _look(self, frames: bytes, at: int, row_end: int) -> Sequence[FieldStep | None]:
        """The steps that one row needs: searches only where its bytes give a hint of a value."""
        length_at = _LENGTH.unpack_from
        readable = self._steps.readable
        values: list[bytes] = []
        fields: list[int] = []
        for field in range(len(self._walk_all)):
            size = length_at(frames, at)[0]
            at += 4
            if size < 0:
                if size != -1:
                    raise ProtocolViolation("the resource sent a field of negative length")
                continue
            if at + size > row_end:
                raise ProtocolViolation("the resource sent a field longer than its row")
            if field in readable:
                values.append(frames[at : at + size])
                fields.append(field)
            at += size
        if len(self._walk_all) == self._count and at != row_end:
            raise ProtocolViolation("the resource sent a row longer than its fields")
        steps = self._steps.narrowed(fields, values)
        return self._walk_masks if steps is self._steps.masks else steps


def _long_row(length: int) -> OverLimit:
    return OverLimit(
        f"a row of {length} bytes is too long to be masked; at most {MAX_MASKED_ROW_BYTES} are",
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
