"""What the operator manages, behind interfaces: the real clients and their fakes."""
