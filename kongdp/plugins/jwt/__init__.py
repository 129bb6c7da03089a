"""The jwt plugin: `config` is what operators write, without any behaviour."""
