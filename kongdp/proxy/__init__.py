"""The exchange: the only room that sees client and upstream at once."""
