"""The resource kinds, one folder each: crd.yaml, desired.py (pure), handlers.py."""
