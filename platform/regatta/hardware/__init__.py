"""Chips, links, networks and prices: dated data, each figure with its source."""
