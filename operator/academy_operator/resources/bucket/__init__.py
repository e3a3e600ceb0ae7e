"""Bucket: an R2 bucket."""
