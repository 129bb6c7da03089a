"""The ip-restriction plugin: `config` is what operators write, without any behaviour."""
