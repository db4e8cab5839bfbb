"""How well a model does before its labels are known: estimates from mergeable profiles alone."""
