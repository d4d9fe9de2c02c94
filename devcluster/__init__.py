"""One command to a real Kubernetes cluster for development: kind, an existing context, or this host.

>>> cluster = devcluster.up("demo")           # doctest: +SKIP
>>> cluster.load_image("operator.tar")        # doctest: +SKIP
>>> cluster.down()                            # doctest: +SKIP
"""

from devcluster.driver import Cluster, SimulatedNodes, Status
from devcluster.drivers import find, up
from devcluster.errors import DevclusterError

__all__ = ["Cluster", "DevclusterError", "SimulatedNodes", "Status", "find", "up"]
