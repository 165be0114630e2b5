from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('quotes', '0003_corporate_actions'),
    ]

    operations = [
        # By hand: on SQLite Django would make the table anew, and not clustered by its key.
        migrations.RunSQL(
            "ALTER TABLE quotes_tradetick ADD COLUMN amended varchar(9) NOT NULL DEFAULT ''",
            "ALTER TABLE quotes_tradetick DROP COLUMN amended",
            state_operations=[
                migrations.AddField(
                    model_name='tradetick',
                    name='amended',
                    field=models.CharField(db_default='', default='', max_length=9),
                ),
            ],
        ),
    ]
