"""Pure builders: from a plan to Kubernetes objects and Envoy configuration."""
