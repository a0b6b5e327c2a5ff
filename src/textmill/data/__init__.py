"""Token ids on the disk, and batches out of them."""
