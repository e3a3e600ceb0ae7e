# The API one release later: the same code with one migration more, for drills of upgrades.
ARG API=academy-api

FROM ${API}
USER 0:0
RUN cd /opt/academy/app/academy_api/exams/migrations \
    && last=$(ls 0*.py | tail -n 1) \
    && printf '%s\n' \
        'from django.db import migrations, models' \
        'class Migration(migrations.Migration):' \
        "    dependencies = [('exams', '${last%.py}')]" \
        "    operations = [migrations.AddField('exam', 'next_release', models.TextField(null=True))]" \
        >9999_next_release.py
USER 65532:65532
