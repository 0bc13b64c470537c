"""Layers that own parameters."""
