"""How many replicas a model needs: pure decisions from what was measured."""
