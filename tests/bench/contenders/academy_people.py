"""An academy with so many students, all with the same password: prints their addresses."""

import sys

import django

django.setup()

from academy_api.accounts.access import Role  # noqa: E402 - Django must be set up first
from academy_api.accounts.models import Academy, Membership, Person  # noqa: E402


def main() -> None:
    """Make them; the hash is made once."""
    count, password = int(sys.argv[1]), sys.argv[2]
    academy = Academy.objects.create(name="벤치학원")
    hasher = Person()
    hasher.set_password(password)
    for number in range(count):
        person = Person.objects.create(email=f"s{number}@example.com", password=hasher.password)
        Membership.objects.create(academy=academy, person=person, role=Role.STUDENT, name=f"s{number}")
        sys.stdout.write(f"{person.email}\n")


if __name__ == "__main__":
    main()
