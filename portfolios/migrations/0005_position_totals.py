import django.db.models.deletion
import quotes.amounts
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portfolios", "0004_lot_choice"),
        ("quotes", "0002_tick_history"),
    ]

    operations = [
        migrations.AddField(
            model_name="posting",
            name="quantity_after",
            field=quotes.amounts.ScaledField(null=True, places=9),
        ),
        migrations.AddField(
            model_name="posting",
            name="cost_after",
            field=quotes.amounts.ScaledField(null=True, places=4),
        ),
        migrations.AddField(
            model_name="posting",
            name="realized_after",
            field=quotes.amounts.ScaledField(null=True, places=4),
        ),
        migrations.AddIndex(
            model_name="posting",
            index=models.Index(
                fields=["instrument", "account", "transaction"], name="posting_of_shares"
            ),
        ),
        migrations.AlterField(
            model_name="posting",
            name="instrument",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="quotes.instrument",
            ),
        ),
    ]
