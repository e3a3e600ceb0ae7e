"""Health, readiness, metrics, request ids, RFC 9457 errors."""
