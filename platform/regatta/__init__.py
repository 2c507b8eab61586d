"""The engine of Regatta: decides, computes, and acts through adapters; knows no Django."""

from __future__ import annotations
