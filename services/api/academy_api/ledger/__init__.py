"""The ledger: jobs, tasks, leases, bells. It knows nothing of video or AI."""
