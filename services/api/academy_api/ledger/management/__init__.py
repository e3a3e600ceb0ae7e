"""Commands of the ledger for `manage.py`."""
