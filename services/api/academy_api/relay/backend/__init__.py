"""Django database backend of the relay process: see `base`."""
