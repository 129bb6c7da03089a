"""The bot-detection plugin: `config` is what operators write, without any behaviour."""
