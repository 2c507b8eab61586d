"""Clusters and their nodes: the door to the providers."""
