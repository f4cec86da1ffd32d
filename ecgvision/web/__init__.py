"""The screening page: reports in a browser, in; images, signals and answers, out."""
