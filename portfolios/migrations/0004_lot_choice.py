from django.db import migrations, models
from quotes.calendar import EXCHANGE, ROUND_THE_CLOCK


def date_the_days_lots(apps, schema_editor):
    """Say of the lots that a position counts to its current day which day that is."""
    positions = apps.get_model("portfolios", "Position").objects
    lots = apps.get_model("portfolios", "Lot").objects
    clock = apps.get_model("quotes", "MarketClock").objects.first()
    simulated = clock is not None and clock.source.startswith("simulated")
    calendar = ROUND_THE_CLOCK if simulated else EXCHANGE
    for position in positions.exclude(day_opened_quantity=0).iterator():
        lots.filter(
            account_id=position.account_id,
            instrument_id=position.instrument_id,
            opened_at__gte=calendar.previous_day(position.day_on).after_at,
        ).update(opened_on=position.day_on)


class Migration(migrations.Migration):
    dependencies = [
        ("portfolios", "0003_margin_and_lots"),
        ("quotes", "0002_tick_history"),
    ]

    operations = [
        migrations.AddField(
            model_name="posting",
            name="lot_choice",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="lot",
            name="opened_on",
            field=models.DateField(null=True),
        ),
        migrations.AddIndex(
            model_name="lot",
            index=models.Index(
                fields=["account", "instrument", "price", "id"], name="lot_hifo"
            ),
        ),
        migrations.RunPython(date_the_days_lots, migrations.RunPython.noop),
    ]
