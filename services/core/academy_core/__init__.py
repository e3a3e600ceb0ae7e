"""What every process shares: settings, errors, log, messages, queue consumer, object store, ledger client."""
