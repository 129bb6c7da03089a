"""The proxy-cache plugin: `config` is what operators write, without any behaviour."""
