"""The job kinds, one folder each: spec.py (light) and run.py (heavy)."""
