"""Users, teams, tokens, and who may do what."""
