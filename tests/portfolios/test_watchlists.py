from __future__ import annotations

from functools import partial
from uuid import uuid4

import pytest

from events.errors import Unavailable
from portfolios.errors import WatchlistInvalid, WatchlistNameTaken, WatchlistNotFound
from portfolios.models import Account, Watchlist, WatchlistEntry
from portfolios.watchlists import (
    account_watchlists,
    add_instrument,
    create_watchlist,
    delete_watchlist,
    get_watchlist,
    get_watchlist_by_name,
    remove_instrument,
    replace_watchlist,
)
from tests.meeting import together
from tests.portfolios.factories import funded_account, make_instrument

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return funded_account()


def make(account: Account, *symbols: str, name: str = "Tech") -> Watchlist:
    instruments = [make_instrument(symbol) for symbol in symbols]
    return create_watchlist(account_id=account.pk, name=name, instruments=instruments)


def symbols(watchlist: Watchlist) -> list[str]:
    return [entry.instrument.symbol for entry in watchlist.entries.all()]


def test_symbols_stay_in_the_order_they_were_added(account):
    watchlist = make(account, "MSFT", "AAPL", "MSFT")

    watchlist = add_instrument(watchlist=watchlist, instrument=make_instrument("IBM"))

    assert symbols(watchlist) == ["MSFT", "AAPL", "IBM"]
    assert symbols(get_watchlist(account.pk, watchlist.public_id)) == ["MSFT", "AAPL", "IBM"]


def test_a_symbol_added_twice_stays_where_it_is(account):
    watchlist = make(account, "MSFT", "AAPL")

    assert symbols(add_instrument(watchlist=watchlist, instrument=make_instrument("MSFT"))) == [
        "MSFT",
        "AAPL",
    ]


def test_replacing_sets_name_and_symbols_and_leaves_what_is_not_given(account):
    watchlist = make(account, "MSFT")

    renamed = replace_watchlist(watchlist=watchlist, name="Old tech")
    assert (renamed.name, symbols(renamed)) == ("Old tech", ["MSFT"])

    emptied = replace_watchlist(watchlist=renamed, instruments=[])
    assert (emptied.name, symbols(emptied)) == ("Old tech", [])


def test_a_symbol_is_taken_off_and_only_once(account):
    watchlist = make(account, "MSFT", "AAPL", "IBM")
    apple = make_instrument("AAPL")

    assert symbols(remove_instrument(watchlist=watchlist, instrument=apple)) == ["MSFT", "IBM"]
    with pytest.raises(WatchlistNotFound, match="AAPL"):
        remove_instrument(watchlist=watchlist, instrument=apple)


def test_a_name_is_taken_once_per_account(account):
    make(account)
    other = make(funded_account())

    with pytest.raises(WatchlistNameTaken):
        make(account, name=" Tech ")
    with pytest.raises(WatchlistNameTaken):
        replace_watchlist(watchlist=make(account, name="Energy"), name="Tech")

    assert other.name == "Tech"
    assert [one.name for one in account_watchlists(account.pk)] == ["Tech", "Energy"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "two\nlines", "nul\0"])
def test_a_name_that_cannot_be_shown_is_refused(account, name):
    with pytest.raises(WatchlistInvalid):
        make(account, name=name)

    assert account_watchlists(account.pk) == []


def test_lists_and_entries_are_bounded(account, monkeypatch):
    monkeypatch.setattr("portfolios.watchlists.WATCHLISTS_MAX", 2)
    monkeypatch.setattr("portfolios.watchlists.ENTRIES_MAX", 2)
    watchlist = make(account, "AAPL", "MSFT")
    make(account, name="Empty")

    with pytest.raises(WatchlistInvalid, match="at most 2 watchlists"):
        make(account, name="One more")
    with pytest.raises(WatchlistInvalid, match="at most 2 symbols"):
        add_instrument(watchlist=watchlist, instrument=make_instrument("IBM"))
    with pytest.raises(WatchlistInvalid, match="at most 2 symbols"):
        replace_watchlist(
            watchlist=watchlist, instruments=[make_instrument(name) for name in "ABC"]
        )

    assert symbols(get_watchlist_by_name(account.pk, "Tech")) == ["AAPL", "MSFT"]


@pytest.mark.django_db(transaction=True)
def test_the_bound_holds_however_many_are_created_at_once(account, monkeypatch):
    monkeypatch.setattr("portfolios.watchlists.WATCHLISTS_MAX", 2)

    def create(number: int) -> Watchlist:
        return create_watchlist(account_id=account.pk, name=f"List {number}")

    outcomes = together(*[partial(create, number) for number in range(6)])
    created = [outcome for outcome in outcomes if isinstance(outcome, Watchlist)]
    assert len(created) == Watchlist.objects.count() == 2
    others = [outcome for outcome in outcomes if outcome not in created]
    assert all(isinstance(outcome, WatchlistInvalid | Unavailable) for outcome in others)


def test_another_account_does_not_find_it(account):
    watchlist = make(account)
    stranger = funded_account()

    with pytest.raises(WatchlistNotFound):
        get_watchlist(stranger.pk, watchlist.public_id)
    with pytest.raises(WatchlistNotFound):
        get_watchlist_by_name(stranger.pk, "Tech")
    with pytest.raises(WatchlistNotFound):
        get_watchlist(account.pk, uuid4())


def test_a_list_deleted_meanwhile_cannot_be_changed(account):
    watchlist = make(account, "AAPL")
    delete_watchlist(watchlist=Watchlist.objects.get())

    with pytest.raises(WatchlistNotFound):
        add_instrument(watchlist=watchlist, instrument=make_instrument("IBM"))
    with pytest.raises(WatchlistNotFound):
        delete_watchlist(watchlist=watchlist)

    assert WatchlistEntry.objects.count() == 0
