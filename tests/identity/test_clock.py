"""Time that nobody can turn back."""

from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.clock import Clock, Deadline
from tests.identity.clocks import SteppedClock


def test_the_machine_s_clock_is_the_usual_one() -> None:
    clock = Clock()
    assert clock.now() <= clock.now()
    assert clock.behind_s() < 5


def test_a_clock_turned_back_goes_on_from_where_it_was() -> None:
    clock = SteppedClock(1000.0)
    clock.pass_s(10)
    assert clock.now() == 1010
    clock.jump_s(-500)
    assert clock.now() == 1010
    clock.pass_s(5)
    assert clock.now() == 1015
    assert clock.behind_s() == 500


def test_a_clock_turned_back_unseen_still_counts_the_time_that_passed() -> None:
    clock = SteppedClock(1000.0)
    clock.pass_s(100)
    clock.jump_s(-90)
    assert clock.now() == 1100


def test_a_jump_forward_is_believed() -> None:
    clock = SteppedClock(1000.0)
    clock.jump_s(3600)
    assert clock.now() == 4600


STEPS = st.lists(
    st.tuples(st.sampled_from(["pass", "jump"]), st.integers(-5000, 5000)), max_size=30
)


@given(STEPS, st.integers(1, 4000))
def test_no_deadline_is_ever_put_off(steps: list[tuple[str, int]], lasts: int) -> None:
    clock = SteppedClock(10_000.0)
    deadline = Deadline.at(10_000.0 + lasts, clock)
    passed, over = 0.0, False
    for kind, step in steps:
        if kind == "pass":
            clock.pass_s(abs(step))
            passed += abs(step)
        else:
            clock.jump_s(step)
        assert over <= deadline.passed(clock)
        over = deadline.passed(clock)
        if passed >= lasts:
            assert over
        assert deadline.remaining_s(clock) <= lasts - passed
