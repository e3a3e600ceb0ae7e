"""The video worker: plan, chunks and publish of a lecture."""
