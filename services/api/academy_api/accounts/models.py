"""Tables of the accounts app. The academy is the tenant: every academy-owned table carries its id.

A person is one sign-in (an e-mail address) for the whole platform; what they are called and may do is said by a
membership, per academy, so that one academy learns nothing of another's people.
"""

import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models

from academy_api.accounts.access import Role
from academy_api.database.tenancy import AcademyOwned

ROLES = [(role.value, role.value) for role in Role]


class Academy(models.Model):
    """One private academy (hakwon)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Person(AbstractBaseUser):
    """One sign-in. `email` is stored in lower case."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "email"

    def __str__(self) -> str:
        return str(self.id)


class Membership(AcademyOwned):
    """What a person is in one academy. Owners of things (lectures, keys) refer to the membership, not the person."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE)
    role = models.CharField(max_length=16, choices=ROLES)
    name = models.CharField(max_length=100)
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """One membership a person and academy."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["academy", "person"], name="accounts_membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="accounts_membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


class Invitation(AcademyOwned):
    """A one-time code that a director hands to a person, who proves with it that the director meant them."""

    email = models.EmailField()
    role = models.CharField(max_length=16, choices=ROLES)
    name = models.CharField(max_length=100)
    digest = models.BinaryField(unique=True, max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta(AcademyOwned.Meta):
        """One open invitation an address: inviting again replaces it."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["academy", "email"], name="accounts_invitation_once"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ApiKey(AcademyOwned):
    """A key for programs. Only its SHA-256 is kept (the secret has 256 random bits; a slow hash adds nothing)."""

    maker = models.ForeignKey(Membership, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.BinaryField(max_length=32)
    scopes = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta(AcademyOwned.Meta):
        """See AcademyOwned."""

    def __str__(self) -> str:
        return self.prefix


class AuditEntry(models.Model):
    """What happened, for the director and for us. Written in the transaction of what it tells; never changed.

    Plain ids instead of foreign keys: an entry outlives what it names.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(auto_now_add=True)
    academy_id = models.UUIDField(null=True)
    person_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=200, blank=True)
    ip = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        """Read by academy, newest first."""

        indexes: ClassVar = [models.Index(fields=["academy_id", "-id"], name="accounts_audit_academy")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class IdempotentCreate(models.Model):
    """A create that carried an Idempotency-Key: its request's hash and its answer."""

    id = models.BigAutoField(primary_key=True)
    academy = models.ForeignKey(Academy, on_delete=models.CASCADE, related_name="+", db_index=False)
    principal = models.CharField(max_length=64)
    route = models.CharField(max_length=200)
    key = models.CharField(max_length=128)
    body_hash = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_index=True)
    status = models.SmallIntegerField()
    body = models.TextField()

    class Meta:
        """The scope of a key."""

        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["academy", "principal", "route", "key"], name="accounts_idempotentcreate_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"


class Spent(models.Model):
    """How much of a limit a subject has used in the window that ends at `ends_at`. Throttles and allowances alike."""

    subject = models.CharField(primary_key=True, max_length=200)
    amount = models.BigIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.subject
