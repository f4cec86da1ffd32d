"""What can go wrong with a training that is nobody's bug."""

from __future__ import annotations

from ecgvision.errors import EcgVisionError


class TrainingError(EcgVisionError):
    """A recipe cannot be trained on this data, or a run cannot go on or be used.

    The message names what was expected, what was found and what to try.
    """

    code = "training"
