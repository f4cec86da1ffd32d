"""One sample page looked at closely: measured, proposed a layout for, its boxes drawn on it."""
