"""What the probe can do, one file each, top-down; plan.py is the step they share."""
