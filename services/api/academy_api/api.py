"""The public API, `/api/v1/…`, with its documentation at `/api/docs`. Each app adds its router here."""

from academy_api.accounts.api import router as accounts
from academy_api.ninja_api import make_api

api = make_api("Academy", "api", docs=True)
api.add_router("/v1", accounts)
