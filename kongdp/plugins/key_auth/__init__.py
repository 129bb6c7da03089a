"""The key-auth plugin: `config` is what operators write, without any behaviour."""
