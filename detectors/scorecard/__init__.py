"""How well a model did on labelled rows: every usual score, each with its uncertainty."""
