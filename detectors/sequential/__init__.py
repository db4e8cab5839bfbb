"""Sequential decisions that keep a budget of false incidents; `docs/decisions.md` describes the method."""
