"""A mask plan made ready to run: what happens to each field of one result or COPY stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from taskgate.masking.content import KindMasker
from taskgate.masking.plan import MaskPlan
from taskgate.masking.transforms import Hider
from taskgate.model.errors import ProtocolViolation
from taskgate.protocols.postgres.contained import content_op, readable
from taskgate.protocols.postgres.shapes import Shape
from taskgate.protocols.postgres.values import FieldOp, fixed_or_op

_LENGTH = Struct("!i")
_NULL = _LENGTH.pack(-1)


@dataclass(frozen=True, slots=True)
class FieldStep:
    """What happens to one field. `rule` is empty for a search by content, which counts itself.

    `fixed` is the replacement of every value, as on the wire (None where `op` makes it).
    `readable`: a search, and the field's bytes show what they hold as they stand. `nulls`: NULL is
    replaced as well, because of an expression even that tells (`nullif(email, 'a guess')`).
    """

    rule: str
    fixed: bytes | None
    op: FieldOp | None
    readable: bool = False
    nulls: bool = False


@dataclass(frozen=True, slots=True)
class FieldSteps:
    """A plan made ready for fields of known types.

    `masks` are the whole-field masks alone, `all_` those and the searches by content; both have
    one entry a field. `readable` are the searched fields whose bytes show what they hold as they
    stand; `unreadable` says that there are others.
    """

    masks: tuple[FieldStep | None, ...]
    all_: tuple[FieldStep | None, ...]
    readable: tuple[int, ...]
    unreadable: bool
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
    masker = KindMasker(plan.kinds, key)
    masks: list[FieldStep | None] = []
    steps: list[FieldStep | None] = []
    looked_at: list[int] = []
    unreadable = False
    for at, (mask, shape, is_binary) in enumerate(zip(plan.fields, shapes, binary, strict=True)):
        if mask is not None:
            replacement = fixed_or_op(mask, shape, is_binary, hider, encoding)
            step = (
                FieldStep(mask.rule, None, replacement)
                if callable(replacement)
                else FieldStep(
                    mask.rule,
                    with_length(replacement),
                    None,
                    nulls=not mask.plain and replacement is not None,
                )
            )
            masks.append(step)
            steps.append(step)
            continue
        masks.append(None)
        op = content_op(shape, is_binary, masker, encoding) if masker else None
        if op is None:
            steps.append(None)
            continue
        shown = readable(shape, is_binary)
        steps.append(FieldStep("", None, op, shown))
        if shown:
            looked_at.append(at)
        else:
            unreadable = True
    return FieldSteps(tuple(masks), tuple(steps), tuple(looked_at), unreadable, masker)
