"""The API: what users write, what the operator reports, and the definition that the API server enforces."""
