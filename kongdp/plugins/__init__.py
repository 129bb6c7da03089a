"""Extension points of an exchange, and the plugins that come with the gateway."""
