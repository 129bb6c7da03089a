"""The request-termination plugin: `config` is what operators write, without any behaviour."""
