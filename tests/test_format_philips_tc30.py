from ecgvision.testing import FormatContract


class TestPhilipsTc30(FormatContract):
    format_id = "philips-tc30"
