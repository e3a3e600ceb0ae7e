"""What the schemas of several apps are made of."""

from typing import Self

from ninja import Schema
from pydantic import ConfigDict


class In(Schema):
    """Base of every body that is taken: closed, so that a misspelt field is refused and not ignored."""

    model_config = ConfigDict(extra="forbid")


class ReasonOut(Schema):
    """Why it failed."""

    code: str
    ko: str
    en: str

    @classmethod
    def of(cls, code: str, ko: str, en: str) -> Self | None:
        """The reason that a row holds; None when it holds none (`code` is empty)."""
        return cls(code=code, ko=ko, en=en) if code else None
