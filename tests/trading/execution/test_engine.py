from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from django.db import OperationalError

from events.models import Event
from portfolios.models import Account, Position
from quotes import halts
from quotes.clock import Clock, market_clock
from quotes.models import MarketClock
from quotes.streaming.bus import CONTROL, ORDERS, TICK_TOPICS
from quotes.ticks import Batch
from tests.portfolios.factories import assert_books_balance, funded_account, make_instrument
from tests.trading.floor import CLOSE, MORNING, OPENING, TradingFloor, now_of
from trading import orders
from trading.execution import engine, intake, settlement
from trading.execution.certificate import expected_execution_id, recompute
from trading.execution.matching import FillModel, Match
from trading.models import Fill, Order, TimeInForce

pytestmark = pytest.mark.django_db


def events_of(order: Order) -> list[str]:
    events = Event.objects.filter(subject=f"order:{order.public_id}").order_by("account_sequence")
    return [event.kind.removeprefix("trading.order.") for event in events]


def test_an_order_meets_the_standing_quote_first(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10")
    floor.show("101", "102")

    filled = now_of(order)
    assert (filled.status, filled.filled_avg_price) == ("filled", Decimal(100))
    assert events_of(order) == ["accepted", "new", "fill"]
    account.refresh_from_db()
    assert (account.cash, account.hold_cash) == (Decimal(99_000), 0)
    assert Position.objects.get().quantity == 10
    assert_books_balance(account)


def test_while_the_market_stands_nothing_happens(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10")
    floor.engine.run_once([])
    assert now_of(order).status == "accepted"


def let_it_run(floor: TradingFloor) -> None:
    """A market in which the engine acts by itself, not only when it is advanced."""
    MarketClock.objects.filter(pk=1).update(mode=MarketClock.Mode.REPLAY)
    market_clock().refresh()
    floor.restart()
    floor.engine.run_once([])


def test_an_order_is_taken_in_by_the_news_of_it_alone(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_it_run(floor)
    monkeypatch.setattr(intake, "accepted", lambda *_: [])  # nothing is found by asking
    order, silent = floor.buy(account, "1", limit="90"), floor.buy(account, "1", limit="90")
    news = {"instrument_id": order.instrument_id, "order_id": order.pk, "status": "accepted"}

    floor.engine.run_once([(ORDERS, news)])
    assert (now_of(order).status, now_of(silent).status) == ("new", "accepted")
    floor.engine.run_once([(ORDERS, news), (ORDERS, news | {"order_id": silent.pk})])
    assert events_of(order) == ["accepted", "new"]
    assert now_of(silent).status == "new"


def test_more_news_than_is_remembered_is_asked_for(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_it_run(floor)
    monkeypatch.setattr(engine, "ANNOUNCED_MAX", 1)
    placed = [floor.buy(account, "1", limit="90") for _ in range(3)]
    news = {"instrument_id": placed[0].instrument_id, "status": "accepted"}
    floor.engine.run_once([(ORDERS, news | {"order_id": order.pk}) for order in placed])
    assert [now_of(order).status for order in placed] == ["new"] * 3


def test_a_limit_order_rests_until_its_price_comes(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "10", limit="97")
    floor.show("98", "99")
    assert (now_of(order).status, now_of(order).reason) == ("new", "")
    floor.show("95", "96.50")
    assert (now_of(order).status, now_of(order).filled_avg_price) == ("filled", Decimal("96.5"))
    assert_books_balance(account)


def test_a_large_order_fills_as_size_is_displayed(floor: TradingFloor, account: Account) -> None:
    floor.show("99", "100", ask_size=30)
    order = floor.buy(account, "100", limit="100")
    floor.pass_time(seconds=1)
    assert now_of(order).filled_quantity == 30
    floor.show("99", "100", ask_size=30)  # nothing fresh
    assert now_of(order).filled_quantity == 30
    floor.show("99", "100", ask_size=50)  # twenty fresh
    assert (now_of(order).status, now_of(order).filled_quantity) == ("partially_filled", 50)
    assert now_of(order).hold_cash == Decimal(5_000)
    floor.show("98", "99", ask_size=100)  # a new price starts afresh
    filled = now_of(order)
    assert (filled.status, filled.filled_avg_price) == ("filled", Decimal("99.5"))
    assert events_of(order) == ["accepted", "new", "partial_fill", "partial_fill", "fill"]
    assert_books_balance(account)


def test_price_then_time_decides_who_is_served(floor: TradingFloor) -> None:
    accounts = [funded_account("100000") for _ in range(3)]
    placed = [
        floor.buy(account, "10", limit=limit)
        for account, limit in zip(accounts, ("90", "91", "91"), strict=True)
    ]
    floor.pass_time(seconds=1)
    floor.show("89", "90", ask_size=25)
    assert [now_of(order).filled_quantity for order in placed] == [5, 10, 10]
    assert_books_balance(*accounts)


def test_an_ioc_takes_what_it_can_and_ends(floor: TradingFloor, account: Account) -> None:
    floor.show("99", "100", ask_size=30)
    order = floor.buy(account, "100", limit="100", time_in_force=TimeInForce.IOC)
    floor.pass_time(seconds=1)
    ended = now_of(order)
    assert (ended.status, ended.filled_quantity, ended.hold_cash) == ("canceled", 30, 0)
    assert ended.reason
    assert events_of(order) == ["accepted", "new", "partial_fill", "canceled"]
    assert_books_balance(account)


def test_an_ioc_without_a_match_is_canceled(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "1", limit="90", time_in_force=TimeInForce.IOC)
    floor.pass_time(seconds=1)
    assert events_of(order) == ["accepted", "new", "canceled"]
    assert_books_balance(account)


def test_an_order_by_amount_buys_for_the_amount(floor: TradingFloor, account: Account) -> None:
    floor.show("299", "300")
    order = floor.buy(account, None, notional=Decimal(100))
    floor.pass_time(seconds=1)
    filled = now_of(order)
    assert (filled.status, filled.filled_quantity) == ("filled", Decimal("0.333333333"))
    assert filled.filled_cash == Decimal("100")
    assert (filled.hold_cash, filled.filled_avg_price) == (0, 300)
    assert_books_balance(account)


def test_a_sale_realises_its_profit(floor: TradingFloor, account: Account) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    order = floor.sell(account, "4")
    floor.show("110", "111")
    assert now_of(order).filled_avg_price == 99  # the quote that stood when it was taken in
    position = Position.objects.get()
    assert (position.quantity, position.realized) == (6, Decimal(-4))
    assert_books_balance(account)


def test_a_sale_by_amount_sells_for_the_amount(floor: TradingFloor, account: Account) -> None:
    floor.buy(account, "10")
    floor.pass_time(seconds=1)
    order = floor.sell(account, None, notional=Decimal(297))
    floor.pass_time(seconds=1)
    assert (now_of(order).status, now_of(order).filled_quantity) == ("filled", 3)
    assert Position.objects.get().hold_quantity == 0
    assert_books_balance(account)


def test_a_market_order_waits_beyond_its_collar_and_says_so(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=1)
    order = floor.buy(account, "2")
    floor.show("104", "104.01", ask_size=5)
    waiting = now_of(order)
    assert waiting.filled_quantity == 1
    assert "protected" in waiting.reason
    floor.show("103", "104", ask_size=5)
    assert (now_of(order).status, now_of(order).reason) == ("filled", "")
    assert_books_balance(account)


def test_nothing_fills_on_a_crossed_quote(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "1", limit="100")
    floor.play(floor.quote("101", "100"))
    assert now_of(order).status == "filled"  # with the quote that stood
    order = floor.buy(account, "1", limit="100")
    floor.pass_time(seconds=1)
    assert (now_of(order).status, now_of(order).reason) == ("new", "the quote is crossed")
    floor.show("99", "100")
    assert now_of(order).status == "filled"


def test_nothing_fills_in_a_halt(floor: TradingFloor, account: Account) -> None:
    halts.halt(floor.instrument, reason="news", actor="operator:1")
    order = floor.buy(account, "1", limit="100")
    floor.show("99", "100")
    assert now_of(order).status == "new"
    assert "halted" in now_of(order).reason
    halts.resume(floor.instrument, actor="operator:1")
    floor.show("99", "100")
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_who_waited_for_a_halts_end_meets_the_quote_that_stands(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=10)
    resting = floor.buy(account, "1", limit="98")
    halts.halt(floor.instrument, reason="news", actor="operator:1")
    waiting = floor.buy(account, "10", limit="100")
    floor.pass_time(seconds=1)
    assert "halted" in now_of(waiting).reason
    halts.resume(floor.instrument, actor="operator:1")
    later = floor.buy(account, "10", limit="101")
    floor.pass_time(seconds=1)
    assert (now_of(waiting).status, now_of(waiting).filled_avg_price) == ("filled", Decimal(100))
    assert [now_of(order).status for order in (resting, later)] == ["new", "new"]
    assert_books_balance(account)


@pytest.mark.parametrize("speaks", [False, True], ids=["its row says so", "a batch without ticks"])
def test_the_news_of_a_halts_end_is_enough_unless_the_feed_is_silent(
    floor: TradingFloor, account: Account, monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    let_it_run(floor)
    is_silent = [False]
    monkeypatch.setattr(Clock, "feed_is_silent", lambda _: is_silent[0])
    halts.halt(floor.instrument, reason="news", actor="operator:1")
    order = floor.buy(account, "10", limit="100")
    quote = floor.quote("99", "100")
    halted = (TICK_TOPICS[0], Batch((quote,), quote.at_us, epoch=1))
    news = {"instrument_id": order.instrument_id, "order_id": order.pk, "status": "accepted"}
    floor.engine.run_once([(CONTROL, {"kind": "halt"}), halted, (ORDERS, news)])
    assert now_of(order).status == "new"

    halts.resume(floor.instrument, actor="operator:1")
    is_silent[0] = True
    floor.engine.run_once([(CONTROL, {"kind": "resume"})])
    assert now_of(order).status == "new"
    is_silent[0] = False
    sign_of_life = (TICK_TOPICS[0], Batch((), quote.at_us, epoch=1))
    floor.engine.run_once([sign_of_life] if speaks else [])
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_day_orders_end_with_the_session_and_no_later_quote_fills(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "1", limit="98")
    late = floor.quote("96", "97", at=CLOSE)
    floor.play(late)
    ended = now_of(order)
    assert (ended.status, ended.expired_at, ended.hold_cash) == ("expired", CLOSE, 0)
    assert events_of(order) == ["accepted", "new", "expired"]
    assert_books_balance(account)


def test_a_quote_before_the_close_fills_in_the_same_batch(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "1", limit="98")
    in_time = floor.quote("96", "97", at=CLOSE - timedelta(microseconds=1))
    floor.play(in_time, floor.quote("96", "97", at=CLOSE + timedelta(seconds=1)))
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_a_gtc_order_lives_into_the_next_session(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "1", limit="98", time_in_force=TimeInForce.GTC)
    after = floor.quote("96", "97", at=CLOSE + timedelta(minutes=1))
    floor.play(after)
    assert now_of(order).status == "new"  # not in the after-hours session
    floor.play(floor.quote("96", "97", at=OPENING + timedelta(days=1)))
    assert now_of(order).status == "filled"


def test_extended_hours_orders_fill_before_the_opening() -> None:
    floor = TradingFloor(MORNING)
    account = funded_account()
    early = floor.buy(account, "1", limit="100", extended_hours=True)
    plain = floor.buy(account, "1", limit="100")
    floor.show()
    assert now_of(early).status == "filled"
    assert now_of(plain).status == "accepted"
    assert_books_balance(account)


def queued_buy(cash: str) -> tuple[TradingFloor, Account, Order]:
    """Ten shares ordered before the opening, held against a last price of 90."""
    floor = TradingFloor(MORNING)
    floor.show("80", "110")
    floor.print_trade("90")
    account = funded_account(cash)
    order = floor.buy(account, "10")
    assert order.collar_price == Decimal("93.6")
    return floor, account, order


def test_a_queued_market_order_gets_a_new_collar_at_the_opening() -> None:
    floor, account, order = queued_buy("2000")
    floor.play(floor.quote("99", "100", ask_size=4, at=OPENING))
    opened = now_of(order)
    assert (opened.status, opened.collar_price) == ("partially_filled", Decimal(104))
    assert opened.hold_cash == Decimal(6 * 104)
    assert_books_balance(account)


def test_a_queued_order_waits_for_the_first_quote_of_its_session() -> None:
    floor, account, order = queued_buy("2000")
    floor.play(until=OPENING + timedelta(seconds=1))
    assert now_of(order).status == "accepted"
    floor.show("99", "100")
    assert now_of(order).filled_avg_price == 100
    assert_books_balance(account)


def test_a_queued_order_that_became_too_dear_is_rejected_with_numbers() -> None:
    floor, account, order = queued_buy("1000")
    floor.play(floor.quote("99", "100", at=OPENING))
    rejected = now_of(order)
    assert (rejected.status, rejected.hold_cash) == ("rejected", 0)
    assert rejected.failed_at is not None
    assert "needs 1040, has 1000" in rejected.reason
    assert events_of(order) == ["accepted", "rejected"]
    assert len(floor.engine.floor.book) == 0
    assert_books_balance(account)


def test_size_of_a_rejected_order_goes_to_the_next_in_line() -> None:
    floor, poor, order = queued_buy("1000")
    rich = funded_account("5000")
    second = floor.buy(rich, "10")
    floor.play(floor.quote("99", "100", ask_size=10, at=OPENING))
    assert now_of(order).status == "rejected"
    assert now_of(second).status == "filled"
    assert_books_balance(poor, rich)


def test_a_fill_of_a_canceled_order_is_dropped_and_its_size_returned(
    floor: TradingFloor, account: Account
) -> None:
    canceled = floor.buy(account, "10", limit="97")
    waiting = floor.buy(account, "10", limit="96")
    floor.pass_time(seconds=1)
    with patch.object(floor.engine.agreement, "load"):  # the engine has not heard of the cancel
        orders.cancel(account_id=account.pk, order_id=canceled.public_id, actor="test")
        floor.show("95", "96", ask_size=10)
    assert now_of(canceled).status == "canceled"
    assert now_of(waiting).status == "filled"
    assert Fill.objects.count() == 1
    assert_books_balance(account)


def test_batches_group_writes_and_never_decide(floor: TradingFloor, account: Account) -> None:
    """The same tape, tick by tick and all at once, gives the same fills."""
    make_instrument("MSFT")
    chance = random.Random(7)
    tape = [
        (str(chance.randint(95, 99)), str(chance.randint(98, 103)), chance.randint(1, 9))
        for _ in range(60)
    ]
    found = []
    for symbol, batches in (("AAPL", [tape]), ("MSFT", [[tick] for tick in tape])):
        floor.show(symbol=symbol)
        for limit in ("97", "98", "99", "100"):
            floor.buy(account, "40", limit=limit, symbol=symbol)
        first = floor.sequence
        for batch in batches:
            quotes = [
                floor.quote(bid, ask, ask_size=size, symbol=symbol) for bid, ask, size in batch
            ]
            started = quotes[0].at_us
            floor.play(*[quote._replace(at_us=started + n) for n, quote in enumerate(quotes)])
        fills = Fill.objects.filter(instrument__symbol=symbol).order_by("pk")
        found.append(
            [
                (fill.quantity, fill.price, fill.taken_before, fill.quote_sequence - first)
                for fill in fills
            ]
        )
    assert len(found[0]) > 10
    assert found[0] == found[1]
    assert_books_balance(account)


def test_a_settlement_that_lost_a_deadlock_is_tried_again(
    floor: TradingFloor, account: Account
) -> None:
    order = floor.buy(account, "10")
    tries = []

    def deadlock_first(decisions, **options):  # type: ignore[no-untyped-def]
        tries.append(len(decisions))
        if len(tries) == 1:
            raise OperationalError(1213, "Deadlock found")
        return settlement.settle(decisions, **options)

    with patch("trading.execution.pending.settle", deadlock_first):
        floor.pass_time(seconds=1)
    assert tries == [2, 2]
    assert now_of(order).status == "filled"
    assert_books_balance(account)


def test_an_old_quote_after_a_newer_one_is_the_past(floor: TradingFloor, account: Account) -> None:
    order = floor.buy(account, "1", limit="97")
    old, new = floor.quote("95", "96"), floor.quote("99", "100")
    floor.play(new, old)
    assert now_of(order).status == "new"


def test_settling_the_same_decisions_again_changes_nothing(
    floor: TradingFloor, account: Account
) -> None:
    """As after a commit whose answer was lost."""
    seen = []

    def remember(decisions, **options):  # type: ignore[no-untyped-def]
        seen.append((list(decisions), options))
        return settlement.settle(decisions, **options)

    with patch("trading.execution.pending.settle", remember):
        floor.buy(account, "10")
        floor.pass_time(seconds=1)
    for decisions, options in seen:
        outcome = settlement.settle(decisions, **options)
        assert outcome.dropped == []
    assert Fill.objects.count() == 1
    assert_books_balance(account)


def test_an_order_that_cannot_be_settled_is_suspended_and_others_go_on(
    floor: TradingFloor, account: Account
) -> None:
    other = funded_account()
    broken = floor.buy(account, "10")
    fine = floor.buy(other, "10")
    apply = settlement.positions.apply_execution

    def fail_for_broken(locked, *rest):  # type: ignore[no-untyped-def]
        if locked.pk == account.pk:
            raise ValueError("a bug")
        return apply(locked, *rest)

    with patch.object(settlement.positions, "apply_execution", fail_for_broken):
        floor.pass_time(seconds=1)
    assert now_of(fine).status == "filled"
    assert now_of(broken).status == "suspended"
    assert events_of(broken) == ["accepted", "suspended"]
    orders.cancel(account_id=account.pk, order_id=broken.public_id, actor="test")
    assert_books_balance(account, other)


def test_every_fill_can_be_recomputed_from_its_certificate(
    floor: TradingFloor, account: Account
) -> None:
    floor.show("99", "100", ask_size=30)
    floor.buy(account, "50", limit="101")
    floor.buy(account, None, notional=Decimal(333))
    floor.show("99", "100", ask_size=55)
    floor.show("99", "101", ask_size=500)
    floor.sell(account, "12.5")
    floor.pass_time(seconds=1)

    spent: dict[int, Decimal] = {}
    for fill in Fill.objects.select_related("order__instrument").order_by("pk"):
        before = spent.get(fill.order_id, Decimal(0))
        found = recompute(fill, fill.order, before)
        assert isinstance(found, Match)
        assert found.price == fill.price.scaleb(4)
        assert found.quantity == fill.quantity.scaleb(9)
        assert found.cash == fill.cash.scaleb(4)
        assert expected_execution_id(fill, fill.order) == fill.execution_id
        spent[fill.order_id] = before + fill.cash
    assert Fill.objects.count() >= 4
    assert_books_balance(account)


def test_the_instant_model_fills_beyond_the_displayed_size() -> None:
    floor = TradingFloor(model=FillModel.INSTANT)
    floor.show("99", "100", ask_size=1)
    account = funded_account()
    order = floor.buy(account, "50")
    floor.pass_time(seconds=1)
    assert now_of(order).status == "filled"
    assert Fill.objects.get().model == "instant"
    assert_books_balance(account)
