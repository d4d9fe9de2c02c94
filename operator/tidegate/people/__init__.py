"""``kubectl md``: what people ask of a ModelDeployment, and what they are told about it. Nothing imports it."""
