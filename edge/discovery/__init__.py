"""Sources of addresses outside the configuration: DNS, Kubernetes, files and keys of a store."""
