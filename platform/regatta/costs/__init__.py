"""What things cost: price intervals, exact sums over time, and books that balance."""
