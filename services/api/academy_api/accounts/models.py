"""Tables of the accounts app. The academy is the tenant: every academy-owned table carries its id."""

import uuid

from django.db import models


class Academy(models.Model):
    """One private academy (hakwon)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name
