"""The zoo: models with their facts, hashes and cards; pulled from the Hub, checked, pushed."""
