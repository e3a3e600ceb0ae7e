"""The Kubernetes operator: queues and buckets as custom resources."""
