"""HTTP endpoints of the control plane."""
