"""The market data protocol as a state machine: contract 11.2, and whatever a client may send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quotes.streaming import limits
from quotes.streaming.audience import Channel
from quotes.streaming.session import CheckKey, Refusal, Session, Subscribed

ALL_NINE = {
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
}
CODES = {400, 401, 402, 403, 405, 410}


def inside() -> Session:
    session = Session()
    session.admit()
    return session


def refused(session: Session, message: Any) -> tuple[int, str]:
    before = session.subscribed
    with pytest.raises(Refusal) as refusal:
        session.receive(message)
    assert session.subscribed == before
    return refusal.value.code, refusal.value.text


def ack(session: Session, message: Any) -> dict[str, Any]:
    outcome = session.receive(message)
    assert isinstance(outcome, Subscribed)
    return outcome.message()


def test_ack_lists_the_complete_state_in_all_nine_arrays() -> None:
    session = inside()

    first = ack(session, {"action": "subscribe", "trades": ["AAPL"], "quotes": ["AAPL", "*"]})
    second = ack(session, {"action": "subscribe", "bars": ["IBM"], "trades": []})
    third = ack(session, {"action": "unsubscribe", "quotes": ["AAPL", "NONE"]})

    assert first.keys() == second.keys() == ALL_NINE | {"T"}
    assert first["T"] == "subscription"
    assert first["trades"] == first["corrections"] == first["cancelErrors"] == ["AAPL"]
    assert first["quotes"] == ["AAPL", "*"]
    assert second == {**first, "bars": ["IBM"]}
    assert third == {**second, "quotes": ["*"]}


def test_channels_that_follow_trades_cannot_be_asked_for() -> None:
    state = ack(inside(), {"action": "subscribe", "corrections": ["AAPL"], "cancelErrors": ["A"]})

    assert {name for name, symbols in state.items() if symbols} == {"T"}


def test_a_key_is_handed_out_for_checking() -> None:
    message = {"action": "auth", "key": "K", "secret": "S"}

    assert Session().receive(message) == CheckKey("K", "S")
    assert Session().receive({"action": "auth"}) == CheckKey(None, None)


@pytest.mark.parametrize("session", [Session(), inside()])
@pytest.mark.parametrize(
    "message",
    [
        None,
        1,
        "subscribe",
        [],
        [{"action": "subscribe"}],
        {},
        {"action": None},
        {"action": ["auth"]},
        {"action": {"auth": 1}},
        {"action": "listen"},
        {"action": "SUBSCRIBE"},
    ],
)
def test_what_is_no_message_is_invalid_syntax(session: Session, message: Any) -> None:
    assert refused(session, message) == (400, "invalid syntax")


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    "symbols", ["AAPL", {"AAPL": 1}, 1, True, [1], [None], [["AAPL"]], [""], ["X" * 33], ["A\nB"]]
)
def test_symbols_that_are_none_are_invalid_syntax(action: str, symbols: Any) -> None:
    message = {"action": action, "trades": ["IBM"], "quotes": symbols}

    assert refused(inside(), message) == (400, "invalid syntax")


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_nobody_subscribes_before_authentication(action: str) -> None:
    message = {"action": action, "trades": ["AAPL"]}

    assert refused(Session(), message) == (401, "not authenticated")


def test_nobody_authenticates_twice() -> None:
    message = {"action": "auth", "key": "K", "secret": "S"}

    assert refused(inside(), message) == (403, "already authenticated")


def test_too_many_symbols_are_refused_as_a_whole() -> None:
    session = inside()
    many = [f"S{n}" for n in range(limits.SYMBOLS_MAX - 1)]
    ack(session, {"action": "subscribe", "quotes": many})

    too_many = {"action": "subscribe", "trades": ["A", "B"]}
    assert refused(session, too_many) == (405, "symbol limit exceeded")

    state = ack(session, {"action": "subscribe", "trades": ["A"], "quotes": many})
    assert state["trades"] == ["A"]


@pytest.mark.parametrize("channel", ["news", "orderbooks"])
def test_channels_of_other_feeds_are_refused_unless_empty(channel: str) -> None:
    message = {"action": "subscribe", "trades": ["A"], channel: ["A"]}

    assert refused(inside(), message) == (410, "invalid subscribe action for this feed")
    assert ack(inside(), {**message, channel: []})["trades"] == ["A"]


def test_unknown_keys_and_unknown_symbols_are_no_error() -> None:
    state = ack(inside(), {"action": "subscribe", "id": 7, "quotes": ["NO.SUCH", "BRK.B"]})

    assert state["quotes"] == ["NO.SUCH", "BRK.B"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["action", "key", "secret", "news", *ALL_NINE])
values = anything | st.lists(st.sampled_from(["A", "B", "*"]), max_size=3)
actions = st.sampled_from(["auth", "subscribe", "unsubscribe"]) | anything
messages = anything | st.builds(
    lambda action, rest: {**rest, "action": action}, actions, st.dictionaries(keys, values)
)


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(messages, max_size=5))
def test_nothing_a_client_sends_raises_anything_but_a_refusal(
    authenticated: bool, sent: list[Any]
) -> None:
    session = Session()
    if authenticated:
        session.admit()

    for message in sent:
        before = session.subscribed
        outcome: CheckKey | Subscribed | Refusal
        try:
            outcome = session.receive(message)
        except Refusal as refusal:
            outcome = refusal
        if isinstance(outcome, Refusal):
            assert outcome.code in CODES
            assert session.subscribed == before
        else:
            assert not isinstance(outcome, Subscribed) or authenticated


channel_names = st.sampled_from([channel.value for channel in Channel])
requests = st.dictionaries(channel_names, st.lists(st.sampled_from(["A", "B", "C", "*"])))


class Subscriptions(RuleBasedStateMachine):
    """Any order of subscribing and unsubscribing against plain sets."""

    def __init__(self) -> None:
        super().__init__()
        self.session = inside()
        self.model: dict[str, set[str]] = {channel.value: set() for channel in Channel}
        self.ack: dict[str, Any] = self.session.subscribed.message()

    @rule(asked=requests)
    def subscribe(self, asked: dict[str, list[str]]) -> None:
        self.ack = ack(self.session, {"action": "subscribe", **asked})
        for channel, symbols in asked.items():
            self.model[channel] |= set(symbols)

    @rule(asked=requests)
    def unsubscribe(self, asked: dict[str, list[str]]) -> None:
        self.ack = ack(self.session, {"action": "unsubscribe", **asked})
        for channel, symbols in asked.items():
            self.model[channel] -= set(symbols)

    @rule(asked=requests)
    def be_refused(self, asked: dict[str, list[str]]) -> None:
        refused(self.session, {"action": "subscribe", **asked, "quotes": [0]})

    @invariant()
    def the_ack_is_the_whole_truth(self) -> None:
        for channel, symbols in self.model.items():
            assert len(self.ack[channel]) == len(symbols)
            assert set(self.ack[channel]) == symbols
        assert self.ack["corrections"] == self.ack["cancelErrors"] == self.ack["trades"]
        assert self.ack == self.session.subscribed.message()


TestSubscriptions = Subscriptions.TestCase
TestSubscriptions.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
