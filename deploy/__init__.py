"""How it is run: settings, wiring, the `homeostat` command, the embedded stack, the demo. It may import all rooms."""
