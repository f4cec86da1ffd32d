from ecgvision.testing import FormatContract


class TestGeMuse(FormatContract):
    format_id = "ge-muse"
