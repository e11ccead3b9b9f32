"""What outlives a run: the installation's key today; history, comparison and leases are added beside it."""
