from decimal import Decimal

import quotes.amounts
from django.db import migrations
from django.db.models import Sum
from quotes.calendar import EXCHANGE, ROUND_THE_CLOCK


def count_the_days_lots(apps, schema_editor):
    """Fill the new columns from the lots, as they were counted until now."""
    positions = apps.get_model("portfolios", "Position").objects
    lots = apps.get_model("portfolios", "Lot").objects
    clock = apps.get_model("quotes", "MarketClock").objects.first()
    simulated = clock is not None and clock.source.startswith("simulated")
    calendar = ROUND_THE_CLOCK if simulated else EXCHANGE
    for position in positions.exclude(quantity=0).exclude(day_on=None).iterator():
        opened = lots.filter(
            account_id=position.account_id,
            instrument_id=position.instrument_id,
            opened_at__gte=calendar.previous_day(position.day_on).after_at,
        ).aggregate(quantity=Sum("quantity_left"), cost=Sum("cost_left"))
        position.day_opened_quantity = opened["quantity"] or Decimal(0)
        position.day_opened_cost = opened["cost"] or Decimal(0)
        position.save(update_fields=["day_opened_quantity", "day_opened_cost"])


class Migration(migrations.Migration):
    dependencies = [
        ("portfolios", "0001_initial"),
        ("quotes", "0002_tick_history"),
    ]

    operations = [
        migrations.AddField(
            model_name="position",
            name="day_opened_quantity",
            field=quotes.amounts.ScaledField(default=Decimal("0"), places=9),
        ),
        migrations.AddField(
            model_name="position",
            name="day_opened_cost",
            field=quotes.amounts.ScaledField(default=Decimal("0"), places=4),
        ),
        migrations.RunPython(count_the_days_lots, migrations.RunPython.noop),
    ]
