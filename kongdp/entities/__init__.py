"""What an operator configures: schemas, validation, the declarative format and configuration hashes. Pure."""
