"""Certificates: what stands in them (chain), names as Exchange prints them (distinguished_name, identifier), host names."""
