module tidegate.dev/devcluster/tools/gateway-api

go 1.26

require sigs.k8s.io/gateway-api v1.6.1
