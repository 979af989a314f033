"""What the resource answers: matched to what was asked, scrubbed, recorded, passed on.

Whatever is not a known reply to the head of the pipeline ends the session: its state is lost. The
rows of results are in `results`.

Source: PostgreSQL documentation, "Message Flow".
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from taskgate.model.errors import ProtocolViolation, TaskgateError
from taskgate.protocols.postgres import messages, tags
from taskgate.protocols.postgres.asking import ask
from taskgate.protocols.postgres.conversation import (
    FAILED,
    IDLE,
    IN_TRANSACTION,
    CancelUpstream,
    Conversation,
)
from taskgate.protocols.postgres.effects import apply_effects
from taskgate.protocols.postgres.errors import Sqlstate, encode_error
from taskgate.protocols.postgres.masked_output import scrubbed, scrubbed_payload
from taskgate.protocols.postgres.pipeline import Expected, Run, Step
from taskgate.protocols.postgres.requests import Requests
from taskgate.protocols.postgres.results import Results

# Settings that decide how the gate's reading of SQL and the resource's agree.
_ENCODINGS = ("UTF8", "SQL_ASCII")
_ROW_TAGS = (tags.DATA_ROW, tags.COPY_DATA)
_LAST_WORDS = ("FATAL", "PANIC")


class Answers:
    """The resource's half of the exchange.

    `told_fatal`: the resource has said why it ends the session.
    """

    def __init__(
        self,
        shared: Conversation,
        requests: Requests,
        results: Results,
        mask_key: bytes,
        tag: Callable[[str], str],
    ) -> None:
        self._c = shared
        self._requests = requests
        self._results = results
        self._mask_key = mask_key
        self._tag = tag
        self._now = 0.0
        self._rolled_back = False
        self._look_up_error: TaskgateError | None = None
        self._untagged: str | None = None
        self.told_fatal = False

    @property
    def running(self) -> Run | None:
        """The admitted request that the resource is working on."""
        for expected in self._c.pipeline:
            if expected.run is not None:
                return expected.run
        return None

    def data(self, data: bytes, now: float) -> None:
        """Takes bytes of the resource.

        Raises:
            TaskgateError: the stream is lost; the session must end.
        """
        self._now = now
        results = self._results
        framer = results.framer
        framer.feed(data)
        while not self._requests.ended:
            next_tag = framer.peek()
            rows = next_tag in _ROW_TAGS or framer.mid_frame
            if rows and results.pass_on():
                continue
            frame = framer.take()
            if frame is None:
                # What waits for the pipeline to drain may go on, wherever the answer ended.
                self._requests.pump(now)
                return
            handler = _HANDLERS.get(frame[0])
            if handler is None:
                raise ProtocolViolation(
                    f"the resource sent a message of type {chr(frame[0])!r} where none belongs"
                )
            handler(self, frame)

    def lost(self, why: str) -> None:
        """The connection to the resource is gone: closes the record of all that was running."""
        while self._c.pipeline:
            expected = self._c.pipeline.done()
            if expected.run is not None:
                expected.run.sqlstate = expected.run.sqlstate or "08006"
                self._finish(expected.run, why=why)

    # Rows.

    def _single_row(self, frame: bytes) -> None:
        self._results.single_row(frame)

    def _copy_in(self, frame: bytes) -> None:
        self._results.copy_in(frame)

    def _copy_out(self, frame: bytes) -> None:
        self._results.copy_out(frame)

    def _copy_done(self, frame: bytes) -> None:
        self._results.copy_done(frame)

    # Descriptions.

    def _row_description(self, frame: bytes) -> None:
        head = self._c.pipeline.head
        if head is None:
            raise ProtocolViolation("the resource described rows that nothing asked for")
        if head.step in (Step.DESCRIBE_STATEMENT, Step.DESCRIBE_PORTAL):
            if head.described is not None:
                head.described.fields = messages.parse_row_description(frame)
            self._c.pipeline.done()
            self._pass(head, frame)
            return
        if head.step is not Step.QUERY:
            raise ProtocolViolation("the resource described rows where it should not")
        if head.run is not None:
            self._results.describe(head.run, frame)

    def _no_data(self, frame: bytes) -> None:
        head = self._take(Step.DESCRIBE_STATEMENT, Step.DESCRIBE_PORTAL)
        if head.described is not None:
            head.described.fields = ()
        self._pass(head, frame)

    def _parameter_description(self, frame: bytes) -> None:
        head = self._c.pipeline.head
        if head is None or head.step is not Step.DESCRIBE_STATEMENT:
            raise ProtocolViolation("the resource described parameters that nothing asked for")
        self._pass(head, frame)

    # Ends of steps.

    def _take(self, *steps: Step) -> Expected:
        head = self._c.pipeline.head
        if head is None or head.step not in steps:
            raise ProtocolViolation("the resource's answer does not fit what was asked")
        return self._c.pipeline.done()

    def _pass(self, expected: Expected, frame: bytes) -> None:
        if not expected.internal:
            self._c.out.to_client.append(frame)

    def _parse_complete(self, frame: bytes) -> None:
        self._made(Step.PARSE, frame)

    def _bind_complete(self, frame: bytes) -> None:
        self._made(Step.BIND, frame)

    def _made(self, step: Step, frame: bytes) -> None:
        expected = self._take(step)
        if expected.made is not None:
            expected.made.confirmed = True
        self._pass(expected, frame)

    def _close_complete(self, frame: bytes) -> None:
        self._pass(self._take(Step.CLOSE), frame)

    def _command_complete(self, frame: bytes) -> None:
        head = self._c.pipeline.head
        if head is None or head.step not in (Step.QUERY, Step.EXECUTE):
            raise ProtocolViolation("the resource completed a command that nothing asked for")
        self._results.copying_out = False
        run = head.run
        if run is None:
            if head.step is Step.EXECUTE:
                self._c.pipeline.done()
                if head.answer is not None:
                    head.answer(None, None)
            return
        done = messages.parse_command_complete(frame)
        run.tags.append(done.tag)
        run.total_rows += run.rows if run.rows else (done.rows or 0)
        self._rolled_back = done.tag == "ROLLBACK"
        facts = self._results.facts(run)
        if not run.judged.quiet:
            apply_effects(self._c, facts, run)
        if run.output is not None:
            _settle_masks(run)
        run.statement += 1
        run.rows = 0
        if head.step is Step.QUERY:
            run.planned = False
            if run.over is None:
                self._c.out.to_client.append(frame)
            else:
                self._tell_over(run)
            return
        self._c.pipeline.done()
        self._finish(run)
        if run.over is None:
            self._c.out.to_client.append(frame)
            return
        self._tell_over(run)
        following = self._c.pipeline.head
        if following is not None and following.step is not Step.SYNC:
            self._requests.end(run.over)
        elif following is None:
            self._requests.skipping = True

    def _tell_over(self, run: Run) -> None:
        """The answer ended before the cancel request reached it: the client gets the error all
        the same, and its transaction is failed with the next ReadyForQuery."""
        if run.over is not None and not run.over_told:
            run.over_told = True
            # A cancel not sent yet could only hit the next statement.
            self._c.out.commands[:] = [
                command for command in self._c.out.commands if command != CancelUpstream()
            ]
            self._c.out.to_client.append(encode_error(run.over))

    def _empty_query(self, frame: bytes) -> None:
        head = self._c.pipeline.head
        run = self._results.head_run()
        self._c.out.to_client.append(frame)
        if head is not None and head.step is Step.EXECUTE:
            self._c.pipeline.done()
            self._finish(run)

    def _portal_suspended(self, frame: bytes) -> None:
        head = self._take(Step.EXECUTE)
        if head.run is not None:
            run = head.run
            self._finish(run, suspended=True)
            if run.over is not None:
                self._tell_over(run)
                self._requests.end(run.over)
                return
        self._pass(head, frame)

    def _ready(self, frame: bytes) -> None:
        status = messages.parse_ready_for_query(frame)
        head = self._take(Step.QUERY, Step.SYNC)
        c = self._c
        before, c.status = c.status, status
        run = head.run
        if status == IDLE:
            c.names.transaction_ended(rolled_back=self._rolled_back)
            c.names.tainted = c.pipeline.tainted > 0
            c.resolution.transaction_ended(for_sure=not c.pipeline)
        elif before == IDLE:
            self._rolled_back = False
        if run is not None:
            self._finish(run)
        if head.answer is not None:
            error, self._look_up_error = self._look_up_error, None
            head.answer(None, error)
        elif run is not None and run.over_told and status == IN_TRANSACTION:
            self._fail_transaction()
        else:
            c.out.to_client.append(frame)
        self._tag_again()
        self._requests.pump(self._now)

    def _tag_again(self) -> None:
        """The client named its application anew: the resource's log goes on showing who it is."""
        c = self._c
        if self._untagged is None or c.pipeline or c.status == FAILED:
            return
        text = self._tag(self._untagged).replace("'", "''")
        self._untagged = None
        ask(c, f"SET application_name TO '{text}'", _nothing_to_answer)

    def _fail_transaction(self) -> None:
        """The client was told of an error that the resource does not know of: make it so. The
        ReadyForQuery that follows goes to the client."""
        self._c.pipeline.push(Expected(Step.QUERY, internal=True))
        self._c.out.to_upstream.append(messages.encode_query("taskgate stopped this transaction"))

    # Errors and what comes unasked.

    def _error(self, frame: bytes) -> None:
        c = self._c
        self._results.copying_out = False
        head = c.pipeline.head
        report = messages.parse_report(frame)
        if report.get("V") in _LAST_WORDS:
            self.told_fatal = True
        if head is None:
            c.out.to_client.append(self._scrubbed(tags.ERROR_RESPONSE, report, None))
            return
        if head.step is Step.QUERY:
            self._query_failed(head, report)
            return
        if head.step is Step.SYNC:
            # A deferred constraint, found as the implicit transaction commits.
            self._rolled_back = True
            c.out.to_client.append(self._scrubbed(tags.ERROR_RESPONSE, report, None))
            return
        self._rolled_back = True
        failed = c.pipeline.fail()
        self._requests.pipeline_failed(self._now)
        first = failed[0]
        after = c.pipeline.head
        if after is not None and after.answer is not None and not self.told_fatal:
            # A question of the gate's own, in a cycle of its own: no concern of the client's.
            self._look_up_error = _told_of(report)
            return
        for expected in failed:
            if expected.run is not None:
                expected.run.sqlstate = report.get("C") if expected is first else "skipped"
                self._finish(expected.run)
        if not first.internal:
            c.out.to_client.append(self._told(first.run, report))
        elif first.instead:
            c.out.to_client.append(first.instead)
        else:
            # A question of the gate's own failed; it stands in for the client's step.
            c.out.to_client.append(self._scrubbed(tags.ERROR_RESPONSE, report, None))

    def _query_failed(self, head: Expected, report: messages.ServerReport) -> None:
        self._rolled_back = True
        run = head.run
        if run is not None:
            run.sqlstate = report.get("C")
            if not run.over_told:
                self._c.out.to_client.append(self._told(run, report))
                run.over_told = run.over is not None
        elif head.answer is not None:
            self._look_up_error = _told_of(report)
        elif head.instead:
            self._c.out.to_client.append(head.instead)

    def _told(self, run: Run | None, report: messages.ServerReport) -> bytes:
        if run is not None and run.over is not None:
            return encode_error(run.over)
        return self._scrubbed(tags.ERROR_RESPONSE, report, run)

    def _scrubbed(self, tag: int, report: messages.ServerReport, run: Run | None) -> bytes:
        tainted = self._c.names.tainted or (run is not None and run.judged.tainted)
        return messages.encode_report(
            tag, scrubbed(report.fields, self._c.gate.masks(), self._mask_key, tainted=tainted)
        )

    def _notice(self, frame: bytes) -> None:
        head = self._c.pipeline.head
        if head is not None and head.internal:
            return
        run = head.run if head is not None else None
        report = messages.parse_report(frame)
        self._c.out.to_client.append(self._scrubbed(tags.NOTICE_RESPONSE, report, run))

    def _notification(self, frame: bytes) -> None:
        message = messages.parse_notification(frame)
        payload = scrubbed_payload(message.payload, self._c.gate.masks(), self._mask_key)
        if payload != message.payload:
            frame = messages.encode_notification(
                messages.Notification(message.process_id, message.channel, payload)
            )
        self._c.out.to_client.append(frame)

    def _parameter_status(self, frame: bytes) -> None:
        name, value = messages.parse_parameter_status(frame)
        if name == "client_encoding" and value not in _ENCODINGS:
            raise ProtocolViolation(f"client_encoding became {value}, which the gate cannot read")
        if name == "standard_conforming_strings" and value != "on":
            raise ProtocolViolation(
                "standard_conforming_strings was turned off, so strings no longer read as judged"
            )
        if name == "search_path":
            self._c.resolution.dirty = True
        if name == "application_name":
            head = self._c.pipeline.head
            if head is not None and head.internal:
                return
            self._untagged = value
        self._c.out.to_client.append(frame)

    # The record.

    def _finish(self, run: Run, *, suspended: bool = False, why: str = "") -> None:
        if run.sample:
            self._c.gate.note("rows", {"request": run.number, "rows": run.sample})
        facts: dict[str, object] = {
            "tags": run.tags,
            # Those of an answer that broke off were seen all the same.
            "rows": run.total_rows + run.rows,
            "bytes": run.bytes,
            "duration_s": round(self._now - run.started_at, 6),
        }
        if run.sqlstate:
            facts["sqlstate"] = run.sqlstate
        if run.over is not None:
            facts["stopped"] = run.over.message
        if suspended:
            facts["suspended"] = True
        if why:
            facts["why"] = why
        if run.output is not None:
            _settle_masks(run)
        if run.masked:
            facts["masked"] = dict(run.masked)
        if run.kinds:
            facts["kinds"] = dict(run.kinds)
        self._c.gate.finished(run.number, facts)


# One table for all sessions: each of thousands would have its own bound methods otherwise.
_HANDLERS: Final[dict[int, Callable[[Answers, bytes], None]]] = {
    tags.DATA_ROW: Answers._single_row,
    tags.COPY_DATA: Answers._single_row,
    tags.COMMAND_COMPLETE: Answers._command_complete,
    tags.EMPTY_QUERY_RESPONSE: Answers._empty_query,
    tags.PORTAL_SUSPENDED: Answers._portal_suspended,
    tags.ROW_DESCRIPTION: Answers._row_description,
    tags.NO_DATA: Answers._no_data,
    tags.PARAMETER_DESCRIPTION: Answers._parameter_description,
    tags.PARSE_COMPLETE: Answers._parse_complete,
    tags.BIND_COMPLETE: Answers._bind_complete,
    tags.CLOSE_COMPLETE: Answers._close_complete,
    tags.READY_FOR_QUERY: Answers._ready,
    tags.ERROR_RESPONSE: Answers._error,
    tags.NOTICE_RESPONSE: Answers._notice,
    tags.NOTIFICATION_RESPONSE: Answers._notification,
    tags.PARAMETER_STATUS: Answers._parameter_status,
    tags.COPY_IN_RESPONSE: Answers._copy_in,
    tags.COPY_OUT_RESPONSE: Answers._copy_out,
    tags.COPY_DONE: Answers._copy_done,
}


def _told_of(report: messages.ServerReport) -> TaskgateError:
    return Sqlstate(report.get("C") or "XX000", report.get("M") or "unknown error")


def _nothing_to_answer(value: bytes | None, error: TaskgateError | None) -> None:
    """The outcome changes nothing."""


def _settle_masks(run: Run) -> None:
    """Adds up what one statement's output masked; the next one has a plan of its own."""
    if run.output is not None:
        counts = run.output.counts
        run.masked = (run.masked or Counter()) + Counter(counts.rules)
        run.kinds = (run.kinds or Counter()) + Counter(counts.kinds)
        run.output = None
