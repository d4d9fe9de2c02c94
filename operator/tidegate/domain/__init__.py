"""Pure decisions: no I/O, no clock, no randomness, no logging. Everything here can be replayed from a JSON file."""
