"""Plans and sizing: what a model takes on which chips, and how that was borne out."""
