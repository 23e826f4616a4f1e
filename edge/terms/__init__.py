"""What words do rooms share, instead of knowing each other?  Plain frozen data, no behaviour."""
