"""The shapes of accounts, positions and watchlists: of requests, and for the documentation."""

from __future__ import annotations

from rest_framework import serializers

from portfolios.watchlists import ENTRIES_MAX
from quotes.api.assets import Asset


class Money(serializers.CharField):
    """USD as a decimal string."""


class Account(serializers.Serializer):
    id = serializers.UUIDField()
    account_number = serializers.CharField()
    status = serializers.CharField()
    crypto_status = serializers.CharField()
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()
    trading_blocked = serializers.BooleanField(help_text="frozen by an operator: no new orders")
    transfers_blocked = serializers.BooleanField()
    account_blocked = serializers.BooleanField()
    trade_suspended_by_user = serializers.BooleanField()
    shorting_enabled = serializers.BooleanField()
    pattern_day_trader = serializers.BooleanField()
    daytrade_count = serializers.IntegerField()
    options_approved_level = serializers.IntegerField()
    options_trading_level = serializers.IntegerField()
    margin_call_due_at = serializers.DateTimeField(
        allow_null=True,
        help_text="a margin call: from then on positions are closed; beyond Alpaca's object",
    )
    multiplier = serializers.CharField()
    cash = Money()
    equity = Money(help_text="cash + long_market_value + short_market_value")
    portfolio_value = Money(help_text="the same as equity")
    last_equity = Money(help_text="equity at the previous close, and what was paid in or out since")
    long_market_value = Money()
    short_market_value = Money(help_text="negative")
    buying_power = Money(help_text="what new orders can still hold")
    regt_buying_power = Money()
    non_marginable_buying_power = Money()
    daytrading_buying_power = Money()
    options_buying_power = Money()
    initial_margin = Money()
    maintenance_margin = Money()
    last_maintenance_margin = Money()
    sma = Money()
    accrued_fees = Money()
    pending_reg_taf_fees = Money()
    pending_transfer_in = Money()
    pending_transfer_out = Money()
    intraday_adjustments = Money()


class Configuration(serializers.Serializer):
    suspend_trade = serializers.BooleanField(help_text="refuse every new order")
    no_shorting = serializers.BooleanField(help_text="refuse sales that would open a short")
    fractional_trading = serializers.BooleanField()
    lot_method = serializers.ChoiceField(
        ["fifo", "lifo", "hifo"], help_text="which lots an order closes first that does not say"
    )
    max_margin_multiplier = serializers.ChoiceField(
        ["1", "2", "4"],
        help_text="1 is a cash account; 2 borrows half, 4 three quarters during the session",
    )
    trade_confirm_email = serializers.CharField(help_text="always none here")
    ptp_no_exception_entry = serializers.BooleanField(help_text="always false here")
    dtbp_check = serializers.CharField(allow_null=True)
    pdt_check = serializers.CharField(allow_null=True)
    max_options_trading_level = serializers.IntegerField(allow_null=True)


class Position(serializers.Serializer):
    asset_id = serializers.UUIDField()
    symbol = serializers.CharField()
    exchange = serializers.CharField()
    asset_class = serializers.CharField()
    asset_marginable = serializers.BooleanField()
    side = serializers.ChoiceField(["long", "short"])
    qty = serializers.CharField(help_text="negative when short")
    qty_available = serializers.CharField(help_text="not held by open orders")
    avg_entry_price = serializers.CharField(help_text="cost_basis ÷ qty, fees apart")
    cost_basis = Money(help_text="USD, negative when short")
    lastday_price = serializers.CharField(allow_null=True, help_text="the previous close")
    current_price = serializers.CharField(
        allow_null=True, help_text="last trade, else mid quote, else previous close"
    )
    market_value = Money(allow_null=True)
    unrealized_pl = Money(allow_null=True)
    unrealized_plpc = serializers.CharField(allow_null=True, help_text="a fraction: 0.01 is 1 %")
    unrealized_intraday_pl = Money(allow_null=True)
    unrealized_intraday_plpc = serializers.CharField(allow_null=True)
    change_today = serializers.CharField(allow_null=True, help_text="a fraction")


class Lot(serializers.Serializer):
    id = serializers.CharField()
    execution_id = serializers.UUIDField(help_text="the execution that opened it")
    opened_at = serializers.DateTimeField()
    price = Money(help_text="per share")
    qty_opened = serializers.CharField(help_text="negative when short")
    qty = serializers.CharField(help_text="what is left of it")
    cost_basis = Money(help_text="of what is left")
    fee = Money(help_text="its opening fee, pro rata of what is left")


class LotPage(serializers.Serializer):
    lots = Lot(many=True)
    next_page_token = serializers.CharField(allow_null=True)


class PortfolioHistory(serializers.Serializer):
    timestamp = serializers.ListField(
        child=serializers.IntegerField(), help_text="epoch seconds of each stretch's beginning"
    )
    equity = serializers.ListField(
        child=serializers.FloatField(), help_text="USD at its end; the newest is of now"
    )
    profit_loss = serializers.ListField(
        child=serializers.FloatField(),
        help_text="USD since base_value; what was paid in or out is no part of it",
    )
    profit_loss_pct = serializers.ListField(
        child=serializers.FloatField(allow_null=True),
        help_text="time-weighted return since base_value, a fraction",
    )
    base_value = serializers.FloatField(
        help_text="equity before the first stretch; of a new account what it was opened with"
    )
    base_value_asof = serializers.DateField(allow_null=True)
    timeframe = serializers.CharField()
    cashflow = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField()),
        help_text="paid in (CSD) and out (CSW) up to the end of each stretch",
    )


class Totals(serializers.Serializer):
    qty = serializers.CharField(help_text="signed")
    cost_basis = Money()
    realized_pl = Money()


class Movement(serializers.Serializer):
    n = serializers.IntegerField()
    asset = serializers.CharField(help_text="USD or a symbol")
    to = serializers.CharField(help_text="the ledger it came to; `from` is where it came from")
    amount = serializers.CharField()

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.CharField()}


class LedgerEntry(serializers.Serializer):
    transaction = serializers.IntegerField(help_text="numbered per account, without a gap")
    kind = serializers.CharField()
    at = serializers.DateTimeField()
    execution_id = serializers.CharField(help_text="as in the id of its activity")
    cash = Money(help_text="what it brought in, before fees")
    fee = Money()
    lot_method = serializers.CharField()
    change = Totals(allow_null=True, help_text="what it did to the position")
    after = Totals(allow_null=True, help_text="the position after it")
    postings = Movement(many=True)


class PositionLedger(serializers.Serializer):
    symbol = serializers.CharField()
    qty = serializers.CharField()
    cost_basis = Money()
    realized_pl = Money()
    entries = LedgerEntry(many=True)
    next_page_token = serializers.CharField(allow_null=True)


class Watchlist(serializers.Serializer):
    id = serializers.UUIDField()
    account_id = serializers.UUIDField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    assets = Asset(many=True)


class SymbolsField(serializers.ListField):
    """A list of symbols or asset ids."""

    child = serializers.CharField(max_length=64)

    def __init__(self) -> None:
        super().__init__(max_length=ENTRIES_MAX, allow_null=True, required=False)


class NewWatchlist(serializers.Serializer):
    name = serializers.CharField()
    symbols = SymbolsField()


class WatchlistChange(serializers.Serializer):
    name = serializers.CharField(required=False, allow_null=True)
    symbols = SymbolsField()


class WatchlistSymbol(serializers.Serializer):
    symbol = serializers.CharField(max_length=64)


class WatchlistName(serializers.Serializer):
    name = serializers.CharField()
