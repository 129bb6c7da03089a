"""The hybrid-mode wire protocol: data plane side, and the messages both planes share."""
