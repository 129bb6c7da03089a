"""The rate-limiting plugin: `config` is what operators write, without any behaviour."""
