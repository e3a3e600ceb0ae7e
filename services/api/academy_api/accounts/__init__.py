"""Academies, the people in them, their roles, sessions and API keys; the audit log."""
