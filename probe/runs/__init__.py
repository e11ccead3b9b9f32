"""Reports over time: the saved run, comparison, correlation with a server's log."""
