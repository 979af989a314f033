"""Masks one stream of bytes as it comes: text of any length, cut into reads anywhere.

Lines are what is looked at: a value ends where its line ends, but for private keys, which are
hidden from their first line to their last without being kept. So what comes out does not depend on
how the stream was cut, as long as no time passes.

Where it does pass, a line that has not ended is shown after `quick_s` all the same, but for what
may be a value that has begun at its end. That waits for `slow_s` after its last byte, and is then
hidden: a value that comes one character a second is never shown further than its first few. What a
line has shown is kept as far as it may still be a part of something; where it turns out to be one,
the rest is hidden, and counted in `in_part`.

Sans-I/O: `now` is seconds on a monotonic clock, and whoever drives this calls `tick` once `due` has
come.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from taskgate.masking.binary import looks_binary
from taskgate.masking.content import KindMasker
from taskgate.masking.detectors import Span, joined
from taskgate.masking.long_values import JWT, Long, endless_jwt, may_be_of_a_key, opened_in
from taskgate.masking.terminal_text import (
    colours_of,
    has_control,
    has_moves,
    views,
    without_control,
)
from taskgate.masking.unfinished import Unfinished
from taskgate.model.limits import MAX_MASKED_LINE_BYTES

SLOW_S: Final = 2.0
# What is looked at again before a cut in a long line; no value that ends is longer.
_OVERLAP: Final = 2048
# Of a line that was shown so much is kept, once it is twice as long and more.
_SHOWN_KEPT: Final = 1024
# Of a long value, for the mark of its end.
_MARK_KEPT: Final = 1024
_FIRST_BLOCK: Final = 512


class BinaryStream(Exception):
    """The stream is no text, so nothing can be masked in it."""


class StreamMasker:
    """One stream. `terminal`: it is what a terminal shows; then it is text whatever is in it, and a
    private key that was cut off does not hide all that follows."""

    def __init__(
        self,
        masker: KindMasker,
        *,
        quick_s: float,
        slow_s: float = SLOW_S,
        terminal: bool = False,
        pass_binary: bool = False,
    ) -> None:
        self.in_part: Counter[str] = Counter()
        self.binary = False
        self._masker = masker
        self._unfinished = Unfinished(masker.kinds)
        self._quick_s = quick_s
        self._slow_s = slow_s
        self._terminal = terminal
        self._pass_binary = pass_binary
        # The beginning of the stream, until it is known what it is; None afterwards.
        self._first: bytes | None = None if terminal else b""
        # The line that has not ended: the part of it that went out, and where a mask that stands
        # for its last bytes ends.
        self._line = b""
        self._done = 0
        self._masked_to = -1
        self._long: Long | None = None
        self._quick_at: float | None = None
        self._slow_at: float | None = None

    @property
    def due(self) -> float | None:
        """When `tick` is to be called; None while nothing waits."""
        times = [at for at in (self._quick_at, self._slow_at) if at is not None]
        return min(times, default=None)

    def feed(self, data: bytes, now: float) -> bytes:
        """What may go out by now. Raises: BinaryStream, unless those may pass."""
        if self.binary:
            return data
        if self._first is not None:
            self._first += data
            if len(self._first) < _FIRST_BLOCK:
                if self._quick_at is None:
                    self._quick_at = now + self._quick_s
                return b""
            data = self._begin()
            if self.binary:
                return data
        elif not (self._terminal or self._pass_binary) and b"\0" in data:
            raise BinaryStream
        out: list[bytes] = []
        self._take(data, out)
        self._wait(now)
        return b"".join(out)

    def tick(self, now: float) -> bytes:
        """What goes out because its time has come. Raises: BinaryStream."""
        out: list[bytes] = []
        if self._first is not None:
            if self._quick_at is None or now < self._quick_at:
                return b""
            data = self._begin()
            if self.binary:
                self._quick_at = None
                return data
            self._take(data, out)
        if self._slow_at is not None and now >= self._slow_at:
            self._quick_at = self._slow_at = None
            self._release(out, hide_begun=True)
        elif self._quick_at is not None and now >= self._quick_at:
            self._quick_at = None
            if not self._release(out, hide_begun=False):
                self._slow_at = None
            elif self._slow_at is None:
                self._slow_at = now + self._slow_s
        return b"".join(out)

    def end(self) -> bytes:
        """The stream has ended: what is still kept goes out. Raises: BinaryStream."""
        out: list[bytes] = []
        self._quick_at = self._slow_at = None
        if self._first is not None:
            data = self._begin()
            if self.binary:
                return data
            self._take(data, out)
        if self._long is None and self._line:
            self._finish(self._line, b"", out)
        self._forget_line()
        return b"".join(out)

    # What it is.

    def _begin(self) -> bytes:
        """The stream's first bytes, once they are to be told apart."""
        first, self._first = self._first or b"", None
        if looks_binary(first):
            if not self._pass_binary:
                raise BinaryStream
            self.binary = True
        return first

    def _wait(self, now: float) -> None:
        """Sets the times by what is still kept."""
        if not self._waits():
            self._quick_at = self._slow_at = None
            return
        if self._quick_at is None:
            self._quick_at = now + self._quick_s
        if self._slow_at is not None:
            self._slow_at = now + self._slow_s

    def _waits(self) -> bool:
        if self._long is not None:
            return bool(self._line) and self._may_be_cut(self._long)
        return self._done < len(self._line)

    def _may_be_cut(self, long: Long) -> bool:
        return self._terminal and long.may_be_cut

    # Lines.

    def _take(self, data: bytes, out: list[bytes]) -> None:
        while data:
            long = self._long
            data = self._text(data, out) if long is None else self._within(long, data)

    def _text(self, data: bytes, out: list[bytes]) -> bytes:
        """Takes text in; what is left of `data` where a long value has begun."""
        if self._line:
            end = data.find(b"\n") + 1
            if not end:
                self._line += data
                return self._cut_long(out)
            line, self._line = self._line + data[:end], b""
            self._line = line
            rest = self._cut_long(out)
            if self._long is not None:
                return rest + data[end:]
            self._complete(self._line, out)
            data = data[end:]
            if self._long is not None:
                return data
        whole = data.rfind(b"\n") + 1
        at = 0
        block = data[:whole]
        # Where there are control sequences, each line is looked at by itself, or none.
        control = has_control(block)
        if control and not self._may_contain(block):
            out.append(block)
            at = whole
        while at < whole:
            hint = at if control else self._masker.first_hint(block, at)
            if hint < 0:
                out.append(block[at:])
                break
            start = block.rfind(b"\n", at, hint) + 1 or at
            end = block.find(b"\n", hint) + 1
            out.append(block[at:start])
            self._line = block[start:end]
            rest = self._cut_long(out)
            if self._long is None:
                self._complete(self._line, out)
            if self._long is not None:
                return rest + data[end:]
            at = end
        self._line = data[whole:]
        return self._cut_long(out)

    def _may_contain(self, block: bytes) -> bool:
        """Whether any line of `block`, which has control sequences in it, is to be looked at: by
        what is left without them; where the cursor moves, what is apart may come together."""
        return (
            has_moves(block)
            or self._masker.may_contain(block)
            or self._masker.may_contain(without_control(block.replace(b"\r\n", b"\n")))
        )

    def _complete(self, line: bytes, out: list[bytes]) -> None:
        body = line.rstrip(b"\r\n")
        self._finish(body, line[len(body) :], out)

    def _finish(self, body: bytes, ending: bytes, out: list[bytes]) -> None:
        """A line has ended, or what is kept of it."""
        spans = self._spans(body)
        self._emit(body, spans, len(body), out)
        opened = self._opened(body, spans)
        # What went out of the line may have had a part of its end in it.
        rest = body + ending
        if opened is None:
            out.append(rest[max(self._done, len(body)) :])
        self._forget_line()
        self._long = opened

    def _forget_line(self) -> None:
        self._line, self._done, self._masked_to = b"", 0, -1

    def _opened(self, line: bytes, spans: Iterable[Span]) -> Long | None:
        """The private key among the values of a line that goes on behind it."""
        if all(span.kind != "private_key" for span in spans):
            return None
        found = (opened_in(view.text) for view in views(line))
        return next((one for one in found if one is not None), None)

    def _spans(self, line: bytes) -> list[Span]:
        """The values in a line, by each way to read it."""
        found: list[Span] = []
        for view in views(line):
            for span in self._masker.find(view.text):
                start, end = view.led_back(span.start, span.end)
                if start < end:
                    found.append(Span(start, end, span.kind))
        return joined(found)

    def _emit(
        self,
        line: bytes,
        spans: Iterable[Span],
        until: int,
        out: list[bytes],
        begun: Span | None = None,
    ) -> None:
        """Sends the line on from where it was left, up to `until`, its values hidden. `begun` is
        the one of `spans` that may be a value, of which no more is known."""
        at = self._done
        for span in spans:
            if span.end <= at or span.start >= until:
                continue
            colours = colours_of(line[max(at, span.start) : span.end])
            if span.start > at or self._masked_to != at:
                whole = span.start >= at and span is not begun
                if not whole:
                    self.in_part[span.kind] += 1
                out.append(line[at : span.start])
                value = without_control(line[span.start : span.end]) if whole else None
                out.append(self._masker.shown_for(span.kind, value))
                self._masker.count((span,))
            # Otherwise it is the rest of what is hidden already.
            out.append(colours)
            at = self._masked_to = span.end
        if at < until:
            out.append(line[at:until])
            at = until
        self._done = at

    # Time.

    def _release(self, out: list[bytes], *, hide_begun: bool) -> bool:
        """Sends on what waits of a line; whether something that may be a value goes on waiting."""
        if self._long is not None:
            if self._may_be_cut(self._long):
                self._end_cut_key(out)
            return False
        line, end = self._line, len(self._line)
        spans = self._spans(line)
        until, kind = self._begun_at(line)
        # A value that is whole, and may go on all the same, waits as one.
        last = next((span for span in spans if span.start < until < span.end), None)
        if last is not None:
            until = last.start
        if not hide_begun:
            self._emit(line, spans, until, out)
        elif kind and last is None:
            last = Span(until, end, kind)
            spans = [*(span for span in spans if span.end <= until), last]
            self._emit(line, spans, end, out, begun=last)
        else:
            self._emit(line, spans, end, out)
        waits = self._done < end
        if self._done > 2 * _SHOWN_KEPT:
            self._drop(self._done - _SHOWN_KEPT)
        return waits

    def _begun_at(self, line: bytes) -> tuple[int, str]:
        """From where on the end of `line` may be a value that has begun, and of which kind."""
        until, kind = len(line), ""
        for view in views(line):
            begun = self._unfinished.at_end_of(view.text)
            if begun is not None and begun.start < len(view.text):
                start, _ = view.led_back(begun.start, len(view.text))
                if start < until:
                    until, kind = start, begun.kind
        return until, kind

    def _drop(self, count: int) -> None:
        """Forgets the first bytes of the line, all of which went out."""
        self._line = self._line[count:]
        self._done -= count
        self._masked_to -= count

    # What is long.

    def _cut_long(self, out: list[bytes]) -> bytes:
        """Sends on the first part of a line that is too long to be kept; what is left to be read
        where a value begins that has no end within what is kept."""
        while len(self._line) > MAX_MASKED_LINE_BYTES:
            window = self._line[:MAX_MASKED_LINE_BYTES]
            cut = MAX_MASKED_LINE_BYTES - _OVERLAP
            spans = self._spans(window)
            opened = self._opened(window, spans)
            if opened is None and "jwt" in self._masker.kinds:
                start = endless_jwt(window)
                if start is not None:
                    opened = JWT
                    spans = joined([*spans, Span(start, len(window), JWT.kind)])
            if opened is not None:
                rest = self._line[len(window) :]
                self._emit(window, spans, len(window), out)
                self._forget_line()
                self._long = opened
                return rest
            self._emit(window, spans, cut, out)
            self._drop(max(0, self._done - _OVERLAP))
        return b""

    def _within(self, long: Long, data: bytes) -> bytes:
        """Hides what belongs to a long value; what is left of `data` behind it."""
        self._line += data
        # As it reads alone: a control sequence ends nothing.
        ways = views(self._line)
        for view in ways[1:] or ways:
            match = long.end.search(view.text)
            if match is not None:
                _, end = view.led_back(0, match.start() if long.before else match.end())
                return self._end_long(end)
        if self._may_be_cut(long):
            return self._key_lines()
        self._line = b"" if long.before else self._line[-_MARK_KEPT:]
        return b""

    def _end_long(self, end: int) -> bytes:
        rest = self._line[end:]
        self._long = None
        self._forget_line()
        return rest

    def _key_lines(self) -> bytes:
        """Ends the key before a line that cannot be one of its own."""
        at = 0
        while end := self._line.find(b"\n", at) + 1:
            if not may_be_of_a_key(without_control(self._line[at:end]), whole=True):
                return self._end_long(at)
            at = end
        self._line = self._line[at:][-_MARK_KEPT:]
        return b""

    def _end_cut_key(self, out: list[bytes]) -> None:
        """The same, for a line that may not end at all: a prompt."""
        if not may_be_of_a_key(without_control(self._line), whole=False):
            rest = self._end_long(0)
            self._take(rest, out)
            self._release(out, hide_begun=False)
