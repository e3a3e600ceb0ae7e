"""Bucket: an R2 bucket with its CORS and lifecycle rules."""
