"""The request-transformer plugin: `config` is what operators write, without any behaviour."""
