"""The audit log: sign-ins, role changes, deletions, exports, redrives.

Call `record` inside the transaction of what it tells, so that neither happens without the other.
"""

import ipaddress
from uuid import UUID

from django.http import HttpRequest

from academy_api.accounts import client
from academy_api.accounts.access import Principal
from academy_api.accounts.models import AuditEntry


def record(
    request: HttpRequest,
    action: str,
    target: object = "",
    *,
    by: Principal | None = None,
    academy: UUID | None = None,
    **details: str,
) -> None:
    """Write one entry. `action` is `noun.verb` (`lecture.delete`); `academy` only where nobody is signed in yet."""
    AuditEntry.objects.create(
        academy_id=by.academy if by else academy,
        person_id=by.person if by else None,
        key_id=by.key if by else None,
        action=action,
        target=str(target),
        ip=_valid(client.address(request)),
        request_id=getattr(request, "request_id", ""),
        details=details,
    )


def record_redrive(job: UUID, academy: UUID, request_id: str) -> None:
    """Write that a failed job goes on since its death was taken out of a dead-letter queue: no person's request did it.

    `request_id` is that of the request which once made the job.
    """
    AuditEntry.objects.create(academy_id=academy, action="job.redrive", target=str(job), request_id=request_id)


def _valid(address: str) -> str | None:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None
