"""The control plane: store, Admin API, catalogue, hub, certificate authority, activity, console."""
