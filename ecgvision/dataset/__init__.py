"""Data sets: images and signals of ECGs with what is known of them, in one folder."""

from __future__ import annotations
