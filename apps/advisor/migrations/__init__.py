"""How the tables of the advisor came to be."""
