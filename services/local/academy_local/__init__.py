"""The embedded platform and the academy command: everything on one machine."""
