"""How long a second and how high a millivolt is on a page, and where 0 mV lies.

Printed text, grid and calibration pulse are measured, compared with what the format declares, and
used only as far as they agree.
"""

from ecgvision.calibration.scales import calibrate as calibrate
from ecgvision.calibration.scales import described as described
