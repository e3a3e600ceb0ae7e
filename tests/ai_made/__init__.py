"""Made kinds: small, slow, greedy and broken ones, for the tests of the AI workers."""
