"""Pure measuring and deciding: no I/O, no clock, no other room."""
