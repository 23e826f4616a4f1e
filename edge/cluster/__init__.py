"""The store that the nodes of all regions share: in memory for a single node, etcd for several."""
