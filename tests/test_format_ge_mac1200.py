from ecgvision.testing import FormatContract


class TestGeMac1200(FormatContract):
    format_id = "ge-mac1200"
