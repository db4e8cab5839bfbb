"""The embedded stack: a broker, a registry and the workers as processes of this machine."""
