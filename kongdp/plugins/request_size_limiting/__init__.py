"""The request-size-limiting plugin: `config` is what operators write, without any behaviour."""
