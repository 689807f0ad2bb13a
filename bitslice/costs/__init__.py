"""What ADCs cost: models from the literature, published designs, and the sum over a mapped network."""
