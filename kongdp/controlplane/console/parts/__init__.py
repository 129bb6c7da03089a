"""What several screens use. A part knows how something looks and asks, not what it is about."""
