from decimal import Decimal

import quotes.amounts
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('trading', '0004_fill_queue_place'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='hold_price',
            field=quotes.amounts.ScaledField(null=True, places=4),
        ),
        migrations.AddField(
            model_name='order',
            name='margin_rate',
            field=quotes.amounts.ScaledField(default=Decimal('1'), places=4),
        ),
        migrations.RemoveIndex(
            model_name='order',
            name='order_by_status',
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['account', 'status', 'instrument', 'side'], name='order_by_status'),
        ),
    ]
