"""Queue: an SQS queue, its dead-letter queue and their alarms."""
