"""What outlives a run: key, outbox, back-off, lease, history."""
