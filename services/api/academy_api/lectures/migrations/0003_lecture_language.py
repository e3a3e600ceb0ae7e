from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('lectures', '0002_hide_before_delete'),
    ]

    operations = [
        migrations.AddField(
            model_name='lecture',
            name='language',
            field=models.CharField(choices=[('ko', 'Korean'), ('en', 'English'), ('ja', 'Japanese'), ('zh', 'Chinese')], db_default='ko', default='ko', max_length=2),
        ),
    ]
