"""Runs inside jobs: models, data, loops. torch and ray are imported here."""
