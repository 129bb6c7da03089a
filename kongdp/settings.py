"""Node settings (placeholder, replaced in this change set)."""
