"""Connections to targets: names to addresses, dialling, pooling."""
