"""The API, with the kinds of the ledger's benchmarks."""

import importlib

from academy_api.wsgi import application

__all__ = ["application"]

# Only after Django is set up, which importing `application` has done.
importlib.import_module("academy_ledger")
