"""Choosing a target; time and randomness are arguments. Pure."""
