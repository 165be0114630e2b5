import django.db.models.deletion
from django.db import migrations, models

KINDS = [
    ("trade", "Trade"),
    ("deposit", "Deposit"),
    ("withdrawal", "Withdrawal"),
    ("transfer", "Transfer"),
]
TYPES = [("CSD", "Deposit"), ("CSW", "Withdrawal"), ("JNLC", "Transfer")]


class Migration(migrations.Migration):
    dependencies = [
        ("portfolios", "0006_days_and_activities"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="successor",
            field=models.OneToOneField(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="predecessor",
                to="portfolios.account",
            ),
        ),
        migrations.AlterField(
            model_name="posting",
            name="kind",
            field=models.CharField(choices=KINDS, max_length=16),
        ),
        migrations.AlterField(
            model_name="nontradeactivity",
            name="type",
            field=models.CharField(choices=TYPES, max_length=8),
        ),
    ]
