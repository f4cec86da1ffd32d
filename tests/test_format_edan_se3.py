from ecgvision.testing import FormatContract


class TestEdanSe3(FormatContract):
    format_id = "edan-se3"
