"""The vocabulary that rooms share instead of each other. Plain frozen data, no behaviour."""
