"""The embedded platform: everything on one machine, on loopback, with no Kubernetes and no Docker."""
