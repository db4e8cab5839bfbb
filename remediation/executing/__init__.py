"""How each step of an action is carried out: one module per family of actions."""
