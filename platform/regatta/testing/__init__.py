"""Fakes and builders, shipped so that everybody's tests can use them."""

from __future__ import annotations
