"""The correlation-id plugin: `config` is what operators write, without any behaviour."""
