"""Whether the signals read off a page can be believed, judged from the page alone.

>>> from ecgvision.quality import Finding, judged
>>> judged([], {}).verdict
'good'
"""

from __future__ import annotations

from ecgvision.quality.assessment import assess
from ecgvision.quality.verdict import Finding, Quality, judged

__all__ = ["Finding", "Quality", "assess", "judged"]
