"""Effects outside of serving: issues, HTTP calls, commands, fresh references."""
