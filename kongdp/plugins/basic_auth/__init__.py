"""The basic-auth plugin: `config` is what operators write, without any behaviour."""
