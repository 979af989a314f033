"""The rows of a result: counted, masked, sampled for the record, passed on.

Rows that no plan touches go through as whole runs of frames, unparsed, and long ones in pieces.

Source: PostgreSQL documentation, "Message Flow" and "COPY Operations".
"""

from taskgate.model.errors import OverLimit, ProtocolViolation, TaskgateError
from taskgate.model.limits import MAX_MASKED_ROW_BYTES, MAX_RECORDED_ROWS, MAX_ROW_BYTES
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.conversation import CancelUpstream, Conversation
from taskgate.protocols.postgres.frames import COPIED_ROWS, ROWS, BackendFramer, tag_set
from taskgate.protocols.postgres.masked_output import (
    REFUSED_ROWS,
    plan_copy,
    plan_described,
    plan_rows,
)
from taskgate.protocols.postgres.pipeline import Run, Step
from taskgate.sql.facts import StatementFacts

_ROWS_OF_ALL_KINDS = tag_set((tags.DATA_ROW, tags.COPY_DATA))


class Results:
    """What the head of the pipeline answers with, row by row.

    `framer` cuts the resource's bytes. `copying_out`: the rows are those of a COPY. `rewritten`
    counts the bytes of rows that were looked into, for a mask or for the record.
    """

    def __init__(self, shared: Conversation, mask_key: bytes, *, record_rows: bool) -> None:
        self._c = shared
        self._mask_key = mask_key
        self._record_rows = record_rows
        self._dropping = False
        self.framer = BackendFramer()
        self.copying_out = False
        self.rewritten = 0

    @property
    def mid_frame(self) -> bool:
        """Whether a long row is partly passed on; nothing else may be said to the client."""
        return self.framer.mid_frame and not self._dropping

    def interrupt(self, run: Run, error: TaskgateError) -> None:
        """Stops passing on a running request's answer, and the request itself."""
        if run.over is None:
            run.over = error
            self._c.out.commands.append(CancelUpstream())
            self._c.gate.note("limit.reached", {"request": run.number, "reason": error.message})

    def pass_on(self) -> bool:
        """Passes on as many rows as have arrived; whether there were any."""
        framer = self.framer
        if framer.mid_frame:
            piece = framer.take_run(ROWS)
            if piece and not self._dropping:
                self._c.out.to_client.append(piece)
                self._count(self.head_run(), 0, len(piece))
            return bool(piece)
        self._dropping = False
        head = self._c.pipeline.head
        run = head.run if head is not None else None
        if run is None:
            return False
        if run.over is not None:
            # Nothing more of this answer is passed on, nor kept.
            self._dropping = True
            return bool(framer.take_run(_ROWS_OF_ALL_KINDS))
        passing = COPIED_ROWS if self.copying_out else ROWS
        if not run.planned:
            self._plan_portal(run)
        most = run.judged.decision.limits.rows
        left = -1 if most is None else most - run.rows
        untouched = run.output is None and not self._record_rows
        framer.max_row_bytes = MAX_ROW_BYTES if untouched else MAX_MASKED_ROW_BYTES
        piece = framer.take_run(passing, left, untouched)
        if not piece:
            return False
        rows = framer.run_rows
        if run.output is not None or self._samples(run):
            self.rewritten += len(piece)
        if run.output is not None:
            piece = run.output.rewrite(piece)
        if self._record_rows and not self.copying_out:
            self._sample(run, piece)
        self._c.out.to_client.append(piece)
        self._count(run, rows, len(piece))
        return True

    def _count(self, run: Run, rows: int, size: int) -> None:
        run.rows += rows
        run.bytes += size
        most = run.judged.decision.limits.max_bytes
        if most is not None and run.bytes > most:
            self.interrupt(
                run,
                OverLimit(
                    f"the answer is larger than this task's limit of {most} bytes",
                    hint="ask for less, or for a task with a higher limits.bytes",
                ),
            )

    def single_row(self, frame: bytes) -> None:
        """A row that did not go through in a run: the gate's own, one too many, or misplaced."""
        head = self._c.pipeline.head
        if head is not None and head.internal and head.answer is not None:
            head.answer(messages.parse_data_row(frame)[0] or b"", None)
            return
        run = self.head_run()
        most = run.judged.decision.limits.rows
        if run.over is None and most is not None and run.rows >= most:
            self.interrupt(
                run,
                OverLimit(
                    f"the answer has more rows than this task's limit of {most}",
                    hint="narrow the query (LIMIT, WHERE), or ask for a task with a higher "
                    "limits.rows",
                ),
            )
        if run.over is None:
            raise ProtocolViolation("the resource sent a row where none belongs")

    def head_run(self) -> Run:
        """The request that the resource is answering.

        Raises:
            ProtocolViolation: there is none.
        """
        head = self._c.pipeline.head
        if head is None or head.run is None:
            raise ProtocolViolation("the resource sent data that nothing asked for")
        return head.run

    def _samples(self, run: Run) -> bool:
        """Whether more of this answer's rows are to be recorded."""
        if not self._record_rows:
            return False
        return run.sample is None or len(run.sample) < MAX_RECORDED_ROWS

    def _sample(self, run: Run, frames: bytes) -> None:
        sample = run.sample
        if sample is None:
            sample = run.sample = []
        pos = 0
        while pos < len(frames) and len(sample) < MAX_RECORDED_ROWS:
            end = pos + 1 + int.from_bytes(frames[pos + 1 : pos + 5], "big")
            values = messages.parse_data_row(frames[pos:end])
            sample.append([None if v is None else v.decode("utf-8", "replace") for v in values])
            pos = end

    def _plan_portal(self, run: Run) -> None:
        """Settles the masks of a portal's rows, before the first of them."""
        run.planned = True
        portal = run.portal
        if not run.judged.decision.masks:
            return
        described = portal.described if portal is not None else None
        facts = run.judged.analysis.statements
        if portal is None or described is None or not described.fields or not facts:
            # A simple query's rows are described first; rows without a description are refused.
            run.output = REFUSED_ROWS
            return
        run.output = plan_rows(
            run.judged, facts[-1], described.fields, portal.formats, self._mask_key
        )

    def describe(self, run: Run, frame: bytes) -> None:
        """The columns of a simple query's next result."""
        run.planned = True
        if run.judged.decision.masks:
            run.output = plan_described(run.judged, self.facts(run), frame, self._mask_key)
        self.tell(run, frame)

    def facts(self, run: Run) -> StatementFacts:
        """The statement of a message that is being answered.

        Raises:
            ProtocolViolation: it had fewer.
        """
        statements = run.judged.analysis.statements
        if run.statement >= len(statements):
            raise ProtocolViolation("the resource answered more statements than were sent")
        return statements[run.statement]

    def copy_in(self, frame: bytes) -> None:
        """The client is asked for a COPY's data."""
        run = self.head_run()
        if self._c.pipeline.head is not None and self._c.pipeline.head.step is Step.EXECUTE:
            self._c.pipeline.drop_syncs()
        self._c.out.to_client.append(frame)
        run.planned = True

    def copy_out(self, frame: bytes) -> None:
        """A COPY to the client begins."""
        run = self.head_run()
        response = messages.parse_copy_response(frame)
        facts = self.facts(run)
        run.planned = True
        run.output = plan_copy(run.judged, facts, response, self._mask_key)
        self.copying_out = True
        self.tell(run, frame)

    def copy_done(self, frame: bytes) -> None:
        """A COPY to the client is complete."""
        run = self.head_run()
        self.copying_out = False
        if run.output is not None and run.over is None:
            rest = run.output.finish()
            if rest:
                self._c.out.to_client.append(rest)
        self.tell(run, frame)

    def tell(self, run: Run, frame: bytes) -> None:
        """Passes a message of a result on, unless the result was stopped."""
        if run.over is None:
            self._c.out.to_client.append(frame)
