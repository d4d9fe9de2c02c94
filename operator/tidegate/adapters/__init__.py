"""The world: the API server and the routers."""
