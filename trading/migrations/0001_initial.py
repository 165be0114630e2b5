

import django.db.models.deletion
import quotes.amounts
import trading.models
import uuid
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('portfolios', '0001_initial'),
        ('quotes', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Order',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('client_order_id', trading.models.ExactTextField(max_length=128)),
                ('side', models.CharField(choices=[('buy', 'Buy'), ('sell', 'Sell')], max_length=4)),
                ('type', models.CharField(choices=[('market', 'Market'), ('limit', 'Limit'), ('stop', 'Stop'), ('stop_limit', 'Stop Limit'), ('trailing_stop', 'Trailing Stop')], max_length=16)),
                ('time_in_force', models.CharField(choices=[('day', 'Day'), ('gtc', 'Gtc'), ('ioc', 'Ioc'), ('fok', 'Fok'), ('opg', 'Opg'), ('cls', 'Cls')], max_length=4)),
                ('order_class', models.CharField(choices=[('simple', 'Simple'), ('bracket', 'Bracket'), ('oco', 'Oco'), ('oto', 'Oto')], default='simple', max_length=8)),
                ('extended_hours', models.BooleanField(default=False)),
                ('quantity', quotes.amounts.ScaledField(null=True, places=9)),
                ('notional', quotes.amounts.ScaledField(null=True, places=4)),
                ('limit_price', quotes.amounts.ScaledField(null=True, places=4)),
                ('stop_price', quotes.amounts.ScaledField(null=True, places=4)),
                ('collar_price', quotes.amounts.ScaledField(null=True, places=4)),
                ('status', models.CharField(choices=[('accepted', 'Accepted'), ('new', 'New'), ('partially_filled', 'Partially Filled'), ('filled', 'Filled'), ('canceled', 'Canceled'), ('expired', 'Expired'), ('replaced', 'Replaced'), ('rejected', 'Rejected'), ('suspended', 'Suspended'), ('held', 'Held')], max_length=16)),
                ('filled_quantity', quotes.amounts.ScaledField(default=Decimal('0'), places=9)),
                ('filled_cash', quotes.amounts.ScaledField(default=Decimal('0'), places=4)),
                ('filled_avg_price', quotes.amounts.ScaledField(null=True, places=9)),
                ('fill_count', models.PositiveIntegerField(default=0)),
                ('hold_cash', quotes.amounts.ScaledField(default=Decimal('0'), places=4)),
                ('hold_quantity', quotes.amounts.ScaledField(default=Decimal('0'), places=9)),
                ('reason', models.CharField(blank=True, max_length=200)),
                ('submitted_at', models.DateTimeField()),
                ('updated_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(null=True)),
                ('filled_at', models.DateTimeField(null=True)),
                ('canceled_at', models.DateTimeField(null=True)),
                ('expired_at', models.DateTimeField(null=True)),
                ('failed_at', models.DateTimeField(null=True)),
                ('replaced_at', models.DateTimeField(null=True)),
                ('recorded_at', models.DateTimeField()),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='portfolios.account')),
                ('instrument', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='quotes.instrument')),
                ('replaced_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trading.order')),
                ('replaces', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trading.order')),
            ],
        ),
        migrations.CreateModel(
            name='Fill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('execution_id', models.UUIDField(unique=True)),
                ('number', models.PositiveIntegerField()),
                ('side', models.CharField(choices=[('buy', 'Buy'), ('sell', 'Sell')], max_length=4)),
                ('quantity', quotes.amounts.ScaledField(places=9)),
                ('price', quotes.amounts.ScaledField(places=4)),
                ('cash', quotes.amounts.ScaledField(places=4)),
                ('fee', quotes.amounts.ScaledField(default=Decimal('0'), places=4)),
                ('position_quantity', quotes.amounts.ScaledField(places=9)),
                ('cumulative_quantity', quotes.amounts.ScaledField(places=9)),
                ('leaves_quantity', quotes.amounts.ScaledField(null=True, places=9)),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
                ('bid', quotes.amounts.ScaledField(places=4)),
                ('bid_size', models.BigIntegerField()),
                ('ask', quotes.amounts.ScaledField(places=4)),
                ('ask_size', models.BigIntegerField()),
                ('taken_before', quotes.amounts.ScaledField(places=9)),
                ('quote_sequence', models.BigIntegerField()),
                ('quote_epoch', models.BigIntegerField()),
                ('quote_at', models.DateTimeField()),
                ('quote_received_at', models.DateTimeField()),
                ('resolution', models.CharField(max_length=8)),
                ('model', models.CharField(max_length=16)),
                ('model_version', models.PositiveSmallIntegerField()),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='portfolios.account')),
                ('instrument', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='quotes.instrument')),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='fills', to='trading.order')),
            ],
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['account', 'submitted_at', 'id'], name='order_by_submission'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['account', 'status'], name='order_by_status'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(fields=['instrument', 'status'], name='order_of_engine'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.UniqueConstraint(fields=('account', 'client_order_id'), name='order_client_id_once'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__isnull', False), ('notional__isnull', False), _connector='OR'), name='order_has_size'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__isnull', True), ('filled_quantity__lte', models.F('quantity')), _connector='OR'), name='order_not_overfilled'),
        ),
        migrations.AddConstraint(
            model_name='order',
            constraint=models.CheckConstraint(condition=models.Q(('hold_cash__gte', Decimal('0')), ('hold_quantity__gte', Decimal('0'))), name='order_hold_not_negative'),
        ),
        migrations.AddIndex(
            model_name='fill',
            index=models.Index(fields=['account', 'at', 'id'], name='fill_by_account'),
        ),
        migrations.AddConstraint(
            model_name='fill',
            constraint=models.UniqueConstraint(fields=('order', 'number'), name='fill_number_once'),
        ),
        migrations.AddConstraint(
            model_name='fill',
            constraint=models.CheckConstraint(condition=models.Q(('quantity__gt', Decimal('0'))), name='fill_quantity_positive'),
        ),
        migrations.AddConstraint(
            model_name='fill',
            constraint=models.CheckConstraint(condition=models.Q(('cash__gt', Decimal('0'))), name='fill_cash_positive'),
        ),
    ]
