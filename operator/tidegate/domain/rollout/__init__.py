"""The rollout machine."""
