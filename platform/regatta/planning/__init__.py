"""What a training step takes in time and memory, and which plan, cluster and purchase follow."""
