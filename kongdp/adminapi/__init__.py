"""Kong's Admin API resources, derived from the entity schemas over a store interface."""
