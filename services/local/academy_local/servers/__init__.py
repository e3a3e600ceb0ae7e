"""What is not ours but runs with the platform: Postgres, PgBouncer, an SQS and an S3 emulator, all on loopback."""
