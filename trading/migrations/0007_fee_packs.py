from decimal import Decimal

from django.db import migrations, models
from django.db.models import Q


def name_the_packs(apps, schema_editor):
    """Until now there was one pack."""
    apps.get_model('trading', 'Fill').objects.filter(fee__gt=Decimal(0)).update(fee_pack='us')


class Migration(migrations.Migration):

    dependencies = [
        ('trading', '0006_order_by_submission_with_parents'),
    ]

    operations = [
        migrations.AddField(
            model_name='fill',
            name='fee_pack',
            field=models.CharField(blank=True, default='', max_length=8),
            preserve_default=False,
        ),
        migrations.RunPython(name_the_packs, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name='fill',
            constraint=models.CheckConstraint(
                condition=Q(fee=Decimal(0), fee_pack='')
                | (Q(fee__gt=Decimal(0)) & ~Q(fee_pack='')),
                name='fill_fee_has_pack',
            ),
        ),
        migrations.AddIndex(
            model_name='fill',
            index=models.Index(fields=['account', 'fee_pack', 'at', 'id'], name='fill_by_charge'),
        ),
    ]
