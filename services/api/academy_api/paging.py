"""Keyset paging: every list answers `{"items": […], "next": cursor or null}`.

A cursor holds the last row's order value and id, so that pages neither skip nor repeat rows while others are added, and
page 1,000 costs what page 1 does.
"""

import base64
import json
from typing import Any, Generic, TypeVar

import pydantic
from django.db.models import Field, Model, Q, QuerySet
from ninja import Schema
from pydantic import BaseModel

from academy_core.errors import Permanent, Reason

M = TypeVar("M", bound=Model)
T = TypeVar("T")

_BAD_CURSOR = Reason(
    "bad-cursor", "목록을 처음부터 다시 불러와 주세요.", "The cursor is not one of ours; start from the first page."
)


class PageQuery(Schema):
    """Query parameters of a list: `?limit=50&cursor=…`."""

    limit: int = pydantic.Field(50, ge=1, le=200)
    cursor: str | None = pydantic.Field(None, max_length=500)


class Page(BaseModel, Generic[T]):
    """One page. `next` is the cursor of the following one."""

    items: list[T]
    next: str | None


def page(rows: QuerySet[M], query: PageQuery, order: str) -> dict[str, Any]:
    """One page of `rows`, newest (largest) `order` first. Permanent for a cursor that is not ours.

    `order` must be indexed together with the academy; the primary key breaks ties.
    """
    if query.cursor is not None:
        rows = _after(rows, order, query.cursor)
    found = list(rows.order_by(f"-{order}", "-pk")[: query.limit + 1])
    items, more = found[: query.limit], len(found) > query.limit
    return {"items": items, "next": _cursor(items[-1], order) if more else None}


def _after(rows: QuerySet[M], order: str, cursor: str) -> QuerySet[M]:
    meta = rows.model._meta  # noqa: SLF001 - Django's documented name
    try:
        value, last = json.loads(base64.urlsafe_b64decode(cursor))
        value, last = _column(meta.get_field(order)).to_python(value), meta.pk.to_python(last)
    except Exception as error:  # any text may come; whatever breaks on it, it is no cursor
        raise Permanent(reason=_BAD_CURSOR) from error
    return rows.filter(Q(**{f"{order}__lt": value}) | Q(**{order: value, "pk__lt": last}))


def _column(field: Any) -> "Field[Any, Any]":
    if not isinstance(field, Field):
        raise TypeError("lists are ordered by a column")
    return field


def _cursor(row: Model, order: str) -> str:
    last = [getattr(row, order), row.pk]
    return base64.urlsafe_b64encode(json.dumps([_text(part) for part in last]).encode()).decode()


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
