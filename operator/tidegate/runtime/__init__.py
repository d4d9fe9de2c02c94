"""The running operator: watches wake reconciles, one direction each."""
