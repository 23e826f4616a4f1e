"""What have the edges of all regions agreed on?  A store they share: in memory for one node, etcd for many."""
