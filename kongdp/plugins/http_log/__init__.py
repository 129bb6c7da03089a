"""The http-log plugin: `config` is what operators write, without any behaviour."""
