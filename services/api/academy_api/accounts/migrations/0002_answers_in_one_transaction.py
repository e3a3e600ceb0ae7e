"""An idempotent create and its answer are one transaction: a row without an answer cannot be any more."""

from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):

    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "DELETE FROM accounts_idempotentcreate WHERE status IS NULL", migrations.RunSQL.noop
        ),
        # The default is only for the way back, where each row needs a value.
        migrations.AlterField("idempotentcreate", "busy_until", models.DateTimeField(default=timezone.now)),
        migrations.RemoveField("idempotentcreate", "busy_until"),
        migrations.AlterField("idempotentcreate", "status", models.SmallIntegerField()),
        migrations.AlterField("idempotentcreate", "body", models.TextField()),
    ]
