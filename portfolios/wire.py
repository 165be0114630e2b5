"""Accounts, positions and watchlists as the trading API writes them (contract sections 3, 7, 9).

Amounts are strings in plain notation. Cash and values carry the ledger's four decimals, so that
equity is exactly cash plus values for whoever adds them up.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate
from typing import Any

from portfolios.drill_down import Entry, Totals
from portfolios.history import History
from portfolios.margin import CASH, INTRADAY, MARGIN
from portfolios.models import Account, Lot, LotMethod, Posting, Watchlist
from portfolios.valuation import AccountSummary, PositionView
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, from_units, plain, rounded
from quotes.listings import asset_json

ASSET_CLASS = "us_equity"
# Of an average price that is no round number, so that quantity × price comes back to the cost.
AVERAGE_PLACES = 9


def account_json(account: Account, summary: AccountSummary) -> dict[str, Any]:
    """The wire contract's account object."""
    closed = account.status == Account.Status.CLOSED
    return {
        "id": str(account.public_id),
        "account_number": account.number,
        "status": account.status,
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "created_at": account.created_at,
        "trading_blocked": account.frozen or closed,
        "transfers_blocked": closed,
        "account_blocked": closed,
        "trade_suspended_by_user": account.trading_suspended,
        # Selling short takes a margin account, whatever its owner has chosen.
        "shorting_enabled": account.shorting and account.multiplier > CASH,
        "pattern_day_trader": False,
        "daytrade_count": 0,
        "options_approved_level": 0,
        "options_trading_level": 0,
        # Beyond Alpaca's: when a margin call that nobody answered closes positions.
        "margin_call_due_at": account.call_due_at,
        "multiplier": str(account.multiplier),
        **_amounts(summary),
        **_powers(account, summary),
    }


def _amounts(summary: AccountSummary) -> dict[str, str]:
    equity = plain(summary.equity)
    return {
        "cash": plain(summary.cash),
        "equity": equity,
        "portfolio_value": equity,
        "last_equity": plain(summary.last_equity),
        "long_market_value": plain(summary.long_market_value),
        "short_market_value": plain(summary.short_market_value),
        "initial_margin": plain(summary.margin.overnight),
        "maintenance_margin": plain(summary.margin.maintenance),
        "last_maintenance_margin": plain(summary.last_maintenance),
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "intraday_adjustments": "0",
    }


def _powers(account: Account, summary: AccountSummary) -> dict[str, str]:
    """What can be opened: altogether, overnight, and without borrowing.

    `sma` is the excess by Regulation T as it stands now. A broker's special memorandum account
    (12 CFR 220.5) also remembers better days; no order here is judged by that memory.
    """
    margin = summary.margin
    power = plain(margin.buying_power)
    if account.multiplier == CASH:
        return {
            "buying_power": power,
            "regt_buying_power": power,
            "non_marginable_buying_power": power,
            "daytrading_buying_power": "0",
            "options_buying_power": "0",
            "sma": "0",
        }
    return {
        "buying_power": power,
        "regt_buying_power": plain(margin.overnight_excess * min(margin.leverage, MARGIN)),
        "non_marginable_buying_power": plain(margin.non_marginable_power),
        "daytrading_buying_power": power if account.multiplier == INTRADAY else "0",
        "options_buying_power": "0",
        "sma": plain(margin.overnight_excess),
    }


def position_json(view: PositionView) -> dict[str, Any]:
    """The wire contract's position object; what needs a price is null until there is one."""
    return {
        "asset_id": str(view.asset_id),
        "symbol": view.symbol,
        "exchange": view.exchange,
        "asset_class": ASSET_CLASS,
        "asset_marginable": view.marginable,
        "side": view.side,
        "qty": plain(view.quantity),
        "qty_available": plain(view.quantity_available),
        "avg_entry_price": plain(rounded(view.avg_entry_price, AVERAGE_PLACES)),
        "cost_basis": plain(view.cost_basis),
        "lastday_price": None if view.previous_close is None else plain(view.previous_close),
        **_priced(view),
    }


def _priced(view: PositionView) -> dict[str, str | None]:
    values: dict[str, Decimal | None] = {
        "current_price": view.current_price,
        "market_value": view.market_value,
        "unrealized_pl": view.unrealized_pl,
        "unrealized_plpc": view.unrealized_plpc,
        "unrealized_intraday_pl": view.unrealized_intraday_pl,
        "unrealized_intraday_plpc": view.unrealized_intraday_plpc,
        "change_today": view.change_today,
    }
    if view.current_price is None:
        return dict.fromkeys(values)
    return {name: plain(value) for name, value in values.items() if value is not None}


def lot_json(lot: Lot) -> dict[str, Any]:
    """One open lot; quantities and cost are negative when it is short."""
    return {
        "id": str(lot.pk),
        "execution_id": str(lot.execution_id),
        "opened_at": lot.opened_at,
        "price": plain(lot.price),
        "qty_opened": plain(lot.quantity_opened),
        "qty": plain(lot.quantity_left),
        "cost_basis": plain(lot.cost_left),
        "fee": plain(lot.fee_left),
    }


def totals_json(totals: Totals) -> dict[str, str]:
    """A position's numbers, or what a transaction did to them."""
    return {
        "qty": plain(totals.quantity),
        "cost_basis": plain(totals.cost_basis),
        "realized_pl": plain(totals.realized),
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """One transaction of a position's ledger, with its postings."""
    return {
        "transaction": entry.transaction,
        "kind": entry.kind,
        "at": entry.at,
        "execution_id": entry.execution_id,
        "cash": plain(entry.cash),
        "fee": plain(entry.fee),
        "lot_method": (entry.lot_choice or [LotMethod.FIFO])[0],
        "change": None if entry.change is None else totals_json(entry.change),
        "after": None if entry.after is None else totals_json(entry.after),
        "postings": [posting_json(posting) for posting in entry.postings],
    }


def posting_json(posting: Posting) -> dict[str, Any]:
    """One movement of one asset between two ledgers of the account's book."""
    instrument = posting.instrument
    places = CASH_PLACES if instrument is None else QUANTITY_PLACES
    return {
        "n": posting.n,
        "asset": "USD" if instrument is None else instrument.symbol,
        "from": posting.source,
        "to": posting.target,
        "amount": plain(from_units(posting.amount, places)),
    }


def history_json(history: History) -> dict[str, Any]:
    """The wire contract's portfolio history: numbers, not strings."""
    returns = [result.total_return for result in history.results]
    return {
        "timestamp": history.labels,
        "equity": [float(worth) for worth in history.equity],
        "profit_loss": [float(result.profit) for result in history.results],
        "profit_loss_pct": [None if one is None else float(one) for one in returns],
        "base_value": float(history.base),
        "base_value_asof": history.based_on,
        "timeframe": history.timeframe,
        # What was paid in and out up to the end of each stretch, and never counts as profit.
        "cashflow": {
            kind: [float(amount) for amount in accumulate(amounts)]
            for kind, amounts in history.flows.items()
        },
    }


def watchlist_json(watchlist: Watchlist) -> dict[str, Any]:
    """The wire contract's watchlist object; account and entries are loaded."""
    return {
        "id": str(watchlist.public_id),
        "account_id": str(watchlist.account.public_id),
        "name": watchlist.name,
        "created_at": watchlist.created_at,
        "updated_at": watchlist.updated_at,
        "assets": [asset_json(entry.instrument) for entry in watchlist.entries.all()],
    }
