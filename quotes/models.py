"""Instruments, what the market last said of them, and their history."""

from __future__ import annotations

import uuid

from django.db import models

from quotes.amounts import per_share_field, plain, price_field


class Exchange(models.TextChoices):
    NYSE = "NYSE", "NYSE"
    NASDAQ = "NASDAQ", "NASDAQ"
    ARCA = "ARCA", "ARCA"
    AMEX = "AMEX", "AMEX"
    BATS = "BATS", "BATS"


class Instrument(models.Model):
    """One US equity or fund that can be looked at and, unless halted or untradable, traded."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        INACTIVE = "inactive"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    symbol = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=200, blank=True)
    exchange = models.CharField(max_length=16, choices=Exchange.choices, default=Exchange.NASDAQ)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.ACTIVE)
    tradable = models.BooleanField(default=True)
    fractionable = models.BooleanField(default=True)
    marginable = models.BooleanField(default=True)
    shortable = models.BooleanField(default=True)
    easy_to_borrow = models.BooleanField(default=True)
    halted = models.BooleanField(default=False)
    halt_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["symbol"]

    def __str__(self) -> str:
        return self.symbol


class LatestQuote(models.Model):
    """The newest quote and trade of an instrument: the database's stand-in for the fast store.

    Prices are scaled as everywhere; instants are microseconds since the epoch, because the feed
    upserts this table once a second. A price of 0 means that there was none yet.
    """

    instrument = models.OneToOneField(Instrument, models.CASCADE, primary_key=True)
    epoch = models.BigIntegerField(default=0)
    quote_sequence = models.BigIntegerField(default=0)
    quote_at_us = models.BigIntegerField(default=0)
    received_us = models.BigIntegerField(default=0)
    bid = price_field(default=0)
    bid_size = models.BigIntegerField(default=0)
    bid_exchange = models.CharField(max_length=4, blank=True)
    ask = price_field(default=0)
    ask_size = models.BigIntegerField(default=0)
    ask_exchange = models.CharField(max_length=4, blank=True)
    resolution = models.CharField(max_length=8, default="tick")
    trade_epoch = models.BigIntegerField(default=0)
    trade_sequence = models.BigIntegerField(default=0)
    trade_at_us = models.BigIntegerField(default=0)
    trade_price = price_field(default=0)
    trade_size = models.BigIntegerField(default=0)
    trade_exchange = models.CharField(max_length=4, blank=True)
    trade_amended = models.CharField(max_length=9, blank=True, default="", db_default="")
    # Where the last price was said anew, its rank (`quotes.ticks.Rank`); a version of 0: its own.
    rank_epoch = models.BigIntegerField(default=0, db_default=0)
    rank_number = models.BigIntegerField(default=0, db_default=0)
    rank_version = models.BigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return f"quote of instrument {self.instrument_id}"


class Timeframe(models.TextChoices):
    MINUTE = "1Min"
    DAY = "1Day"


class Bar(models.Model):
    """Stored history: one clustered range scan per instrument and timeframe.

    `start` is in epoch seconds UTC; a daily bar starts at midnight New York.
    """

    pk = models.CompositePrimaryKey("instrument_id", "timeframe", "start")
    instrument = models.ForeignKey(Instrument, models.CASCADE, db_index=False)
    timeframe = models.CharField(max_length=4, choices=Timeframe.choices)
    start = models.BigIntegerField()
    open = price_field()
    high = price_field()
    low = price_field()
    close = price_field()
    volume = models.BigIntegerField()
    trade_count = models.BigIntegerField(default=0)
    vwap = price_field(default=0)  # 0 where the source does not tell

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(low__lte=models.F("open"), high__gte=models.F("open"))
                & models.Q(low__lte=models.F("close"), high__gte=models.F("close"))
                & models.Q(low__lte=models.F("high"), volume__gte=0),
                name="bar_is_ordered",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.timeframe} bar of instrument {self.instrument_id} at {self.start}"


class CorporateAction(models.Model):
    """A split or a cash dividend of an instrument, as an operator announced it.

    A split makes `new_shares` of every `old_shares` when the trading day `ex_on` begins. A dividend
    of `per_share` USD belongs to whoever held the instrument when the trading day before `ex_on`
    ended, and is paid when `payable_on` begins.
    """

    class Kind(models.TextChoices):
        SPLIT = "split"
        DIVIDEND = "cash_dividend"

    class Status(models.TextChoices):
        ANNOUNCED = "announced"
        UNDER_WAY = "under_way"
        DONE = "done"
        CANCELED = "canceled"
        TO_REVERSE = "to_reverse"
        REVERSING = "reversing"
        REVERSED = "reversed"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    instrument = models.ForeignKey(Instrument, models.PROTECT, related_name="corporate_actions")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    ex_on = models.DateField()
    payable_on = models.DateField(null=True, blank=True)
    per_share = per_share_field(null=True, blank=True)  # USD
    new_shares = models.PositiveIntegerField(null=True, blank=True)
    old_shares = models.PositiveIntegerField(null=True, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.ANNOUNCED)
    due_at = models.DateTimeField()  # market time, at which it is carried out
    reverse_at = models.DateTimeField(null=True)  # market time, at which its reversal was ordered
    # How far it is: the last position that was looked at, and how many accounts it changed.
    after_position = models.BigIntegerField(default=0)
    accounts = models.PositiveIntegerField(default=0)
    announced_at = models.DateTimeField()  # market time
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    kind="cash_dividend",
                    per_share__gt=0,
                    payable_on__gte=models.F("ex_on"),
                    new_shares__isnull=True,
                    old_shares__isnull=True,
                )
                | models.Q(
                    kind="split",
                    per_share__isnull=True,
                    payable_on__isnull=True,
                    new_shares__gt=0,
                    old_shares__gt=0,
                ),
                name="corporate_action_has_terms",
            ),
        ]
        indexes = [models.Index(fields=["status", "due_at"], name="corporate_action_due")]

    def __str__(self) -> str:
        if self.kind == self.Kind.SPLIT:
            return f"{self.instrument.symbol} split {self.new_shares}:{self.old_shares}"
        assert self.per_share is not None
        return f"{self.instrument.symbol} dividend {plain(self.per_share)}"


class QuoteTick(models.Model):
    """One quote of the tape, kept for a while (`quotes.tick_history`).

    Prices are in 1/10,000 USD. No constraint names the instrument, because MySQL allows none on a
    partitioned table; instruments are never deleted.
    """

    pk = models.CompositePrimaryKey("instrument_id", "at_us", "sequence")
    instrument = models.ForeignKey(
        Instrument, models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    at_us = models.BigIntegerField()
    sequence = models.BigIntegerField()
    epoch = models.PositiveIntegerField()
    bid = models.BigIntegerField()
    bid_size = models.PositiveIntegerField()
    ask = models.BigIntegerField()
    ask_size = models.PositiveIntegerField()
    bid_exchange = models.CharField(max_length=4)
    ask_exchange = models.CharField(max_length=4)
    resolution = models.CharField(max_length=8)

    def __str__(self) -> str:
        return f"quote {self.sequence} of instrument {self.instrument_id} at {self.at_us}"


class TradeTick(models.Model):
    """One trade of the tape, kept as quotes are."""

    pk = models.CompositePrimaryKey("instrument_id", "at_us", "sequence")
    instrument = models.ForeignKey(
        Instrument, models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    at_us = models.BigIntegerField()
    sequence = models.BigIntegerField()
    epoch = models.PositiveIntegerField()
    price = models.BigIntegerField()
    size = models.PositiveIntegerField()
    exchange = models.CharField(max_length=4)
    conditions = models.CharField(max_length=64)  # in the tape's letters, with commas between
    sets_price = models.BooleanField()
    counts_volume = models.BooleanField()
    # "canceled", "incorrect" or "corrected", once that is known.
    amended = models.CharField(max_length=9, default="", db_default="")

    def __str__(self) -> str:
        return f"trade {self.sequence} of instrument {self.instrument_id} at {self.at_us}"


class MarketClock(models.Model):
    """The one row that says what time it is in the market, and how that time moves.

    Market time never passes `watermark_us`. In replay the row reserves ahead (`reserved_us`), so
    that a restart never runs backwards. `advance_to_us` asks a stepped market to play on;
    `settled_us` is how far it has played, matched and committed.
    """

    class Mode(models.TextChoices):
        LIVE = "live"
        SIMULATED = "simulated"
        REPLAY = "replay"
        STEPPED = "stepped"

    # Not counted up by the database: MySQL checks no constraint on a column that it counts up.
    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    mode = models.CharField(max_length=12, choices=Mode.choices)
    speed = models.FloatField(default=1.0)  # market seconds per wall second, 0.1 to 1000
    paused = models.BooleanField(default=False)
    opened_us = models.BigIntegerField(default=0)  # where this market's run began
    watermark_us = models.BigIntegerField(default=0)
    reserved_us = models.BigIntegerField(default=0)
    advance_to_us = models.BigIntegerField(default=0)
    settled_us = models.BigIntegerField(default=0)
    source = models.CharField(
        max_length=64, blank=True
    )  # which market: "simulated-7", "lean-2013-10-07"
    updated_at = models.DateTimeField(auto_now=True)  # wall time of the feed's last word

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_market_clock"),
        ]

    def __str__(self) -> str:
        return f"{self.mode} market clock"
