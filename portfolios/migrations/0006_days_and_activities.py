import uuid
from decimal import Decimal
from itertools import groupby

import django.db.models.deletion
import quotes.amounts
from django.db import migrations, models
from quotes.amounts import CASH_PLACES, QUANTITY_PLACES, from_units
from quotes.calendar import EXCHANGE, ROUND_THE_CLOCK

TYPES = {"deposit": "CSD", "withdrawal": "CSW"}
SLICE = 1_000


def write_the_past(apps, schema_editor):
    """Write the days and the activities of the postings there are."""
    clock = apps.get_model("quotes", "MarketClock").objects.first()
    simulated = clock is not None and clock.source.startswith("simulated")
    calendar = ROUND_THE_CLOCK if simulated else EXCHANGE
    postings = apps.get_model("portfolios", "Posting").objects.order_by(
        "account_id", "transaction", "n"
    )
    rows = _Rows(apps)
    for account_id, of_account in groupby(postings.iterator(), lambda one: one.account_id):
        past = _Past(account_id)
        for _, moves in groupby(of_account, lambda one: one.transaction):
            past.add(list(moves), calendar, rows)
    rows.write(all_of_them=True)


class _Rows:
    """Rows to write, in slices."""

    def __init__(self, apps):
        names = ("AccountDay", "PositionDay", "NonTradeActivity")
        self.waiting = {apps.get_model("portfolios", name): [] for name in names}

    def add(self, name, **values):
        model = next(one for one in self.waiting if one.__name__ == name)
        self.waiting[model].append(model(**values))
        self.write()

    def write(self, *, all_of_them=False):
        for model, rows in self.waiting.items():
            if len(rows) >= SLICE or all_of_them:
                model.objects.bulk_create(rows, batch_size=SLICE)
                rows.clear()


class _Past:
    """One account, replayed as far as its days need it."""

    def __init__(self, account_id):
        self.account_id = account_id
        self.on = None
        self.cash = Decimal(0)
        self.shares = {}
        self.days = {}

    def add(self, moves, calendar, rows):
        first = moves[0]
        trade_date = calendar.trading_date(first.at)
        if self.on is None or self.on < trade_date:
            self.on = trade_date
            rows.add(
                "AccountDay",
                account_id=self.account_id,
                on=trade_date,
                first_transaction=first.transaction,
                open_cash=self.cash,
            )
        before = self.cash
        for move in moves:
            if move.instrument_id is None:
                self.cash += _signed(move, "cash", CASH_PLACES)
            else:
                self._move_shares(move, trade_date, rows)
        if first.kind in TYPES:
            rows.add(
                "NonTradeActivity",
                account_id=self.account_id,
                transaction=first.transaction,
                type=TYPES[first.kind],
                net_amount=self.cash - before,
                at=first.at,
                on=self.on,
            )

    def _move_shares(self, move, trade_date, rows):
        held = self.shares.get(move.instrument_id, Decimal(0))
        last = self.days.get(move.instrument_id)
        if last is None or last < trade_date:
            self.days[move.instrument_id] = trade_date
            rows.add(
                "PositionDay",
                account_id=self.account_id,
                instrument_id=move.instrument_id,
                on=trade_date,
                open_quantity=held,
            )
        self.shares[move.instrument_id] = held + _signed(move, "shares", QUANTITY_PLACES)


def _signed(move, own, places):
    amount = from_units(move.amount, places)
    if move.target == own:
        return amount
    return -amount if move.source == own else Decimal(0)


class Migration(migrations.Migration):
    dependencies = [
        ("portfolios", "0005_position_totals"),
        ("quotes", "0002_tick_history"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("on", models.DateField()),
                ("first_transaction", models.BigIntegerField()),
                ("open_cash", quotes.amounts.ScaledField(places=4)),
                ("account", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="portfolios.account")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("account", "on"), name="account_day_once")],
            },
        ),
        migrations.CreateModel(
            name="PositionDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("on", models.DateField()),
                ("open_quantity", quotes.amounts.ScaledField(places=9)),
                ("account", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="portfolios.account")),
                ("instrument", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="quotes.instrument")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("account", "on", "instrument"), name="position_day_once")],
            },
        ),
        migrations.CreateModel(
            name="NonTradeActivity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("transaction", models.BigIntegerField()),
                ("type", models.CharField(choices=[("CSD", "Deposit"), ("CSW", "Withdrawal")], max_length=8)),
                ("net_amount", quotes.amounts.ScaledField(places=4)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("at", models.DateTimeField()),
                ("on", models.DateField()),
                ("account", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="portfolios.account")),
            ],
            options={
                "verbose_name_plural": "non-trade activities",
                "indexes": [models.Index(fields=["account", "at", "id"], name="activity_by_account")],
                "constraints": [models.UniqueConstraint(fields=("account", "transaction"), name="activity_once")],
            },
        ),
        migrations.RunPython(write_the_past, migrations.RunPython.noop),
    ]
