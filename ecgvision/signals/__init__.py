"""From a page to calibrated signals: curves in mm, scale, recording."""
