"""Prices, meters, and what teams, clusters and jobs cost."""
