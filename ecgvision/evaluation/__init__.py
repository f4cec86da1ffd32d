"""How good models are: figures with intervals, tests between models, one page that shows both."""
