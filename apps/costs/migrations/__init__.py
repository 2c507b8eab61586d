"""How the tables of costs came to be."""
