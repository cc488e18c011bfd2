"""The files of this folder, by name."""

from pathlib import Path

from petvr.registry import Registry

REGISTRY = Registry("method", "petvr.methods", Path(__file__).parent)
