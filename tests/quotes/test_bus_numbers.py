from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quotes.streaming.bus.numbers import MARK_SECONDS, MARKED_SECONDS, PUBLISHERS_MAX, Heard, Said


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_topic_is_numbered_by_itself() -> None:
    said = Said()
    assert [said.next(topic) for topic in ("bars", "bars", "control", "bars")] == [1, 2, 1, 3]


def test_how_far_a_publisher_has_come_is_said_again_for_a_while_and_then_no_more() -> None:
    time = Time()
    said = Said(time)
    assert said.marks() == {}
    said.next("bars")
    told = []
    while (marks := said.marks()) or time.now < 101:
        told.append(marks)
        time.now += MARK_SECONDS

    assert told == [{"bars": 1}] * len(told)
    assert MARKED_SECONDS / MARK_SECONDS <= len(told) <= MARKED_SECONDS / MARK_SECONDS + 2
    said.next("control")
    assert said.marks() == {"control": 1}


def test_marks_are_not_said_all_the_time() -> None:
    time = Time()
    said = Said(time)
    said.next("bars")
    assert [bool(said.marks()) for _ in range(3)] == [True, False, False]


@given(st.sets(st.integers(1, 30)), st.data())
def test_a_loss_is_noticed_at_the_latest_by_the_next_mark(
    lost: set[int], data: st.DataObject
) -> None:
    """Whatever is lost of a publisher's messages and marks, what was not heard is noticed by the
    first mark that comes, and what was all heard is not."""
    heard = Heard()
    heard.mark("p", "bars", 0)
    unnoticed = False
    for number in range(1, 31):
        if number in lost:
            unnoticed = True
        elif heard.message("p", "bars", number):
            assert unnoticed
            unnoticed = False
        else:
            assert not unnoticed
        if data.draw(st.booleans()):
            assert heard.mark("p", "bars", number) == unnoticed
            unnoticed = False


def test_what_is_sent_again_is_no_loss() -> None:
    heard = Heard()
    noticed = [heard.message("p", "bars", number) for number in (1, 2, 3, 2, 3, 4)]
    assert not any(noticed)
    assert not heard.mark("p", "bars", 3)


def test_what_is_sent_again_or_was_overtaken_is_told_from_what_is_new() -> None:
    """A halt that comes after its own end would last for ever."""
    heard = Heard()
    news = []
    for number in (4, 4, 6, 5, 6, 7):
        if not heard.has("p", "control", number):
            heard.message("p", "control", number)
            news.append(number)
    assert news == [4, 6, 7]
    heard.mark("p", "control", 9)
    assert heard.has("p", "control", 9)
    assert not heard.has("q", "control", 1)
    assert not heard.has("p", "bars", 1)


def test_of_a_new_publisher_only_a_mark_says_that_something_was_lost() -> None:
    heard = Heard()
    assert not heard.message("p", "bars", 7)
    assert heard.mark("q", "bars", 1)
    assert not heard.mark("q", "bars", 1)


def test_publishers_that_are_gone_are_forgotten() -> None:
    heard = Heard()
    for number in range(PUBLISHERS_MAX + 10):
        heard.message(f"p{number}", "control", 1)
    assert len(heard._last) == PUBLISHERS_MAX
