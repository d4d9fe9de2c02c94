"""From a trained model to a verified bundle. Needs the `packager` extra; nothing here is imported in the cluster."""
