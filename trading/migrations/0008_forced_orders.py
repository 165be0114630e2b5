from django.db import migrations, models


def mark_those_that_are_open(apps, schema_editor):
    """Until now their name and the event log told them; an owner may name orders alike."""
    Order, Event = apps.get_model('trading', 'Order'), apps.get_model('events', 'Event')
    open_orders = Order.objects.filter(
        client_order_id__startswith='liquidation-',
        status__in=['accepted', 'new', 'partially_filled', 'suspended'],
    )
    for order in open_orders:
        accepted = Event.objects.filter(
            subject=f'order:{order.public_id}',
            kind='trading.order.accepted',
            actor='operator:liquidation',
        )
        if accepted.exists():
            order.is_forced = True
            order.save(update_fields=['is_forced'])


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0004_cursor'),
        ('trading', '0007_fee_packs'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='is_forced',
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(mark_those_that_are_open, migrations.RunPython.noop),
    ]
