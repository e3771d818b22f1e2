"""The wire formats that models are asked in, seen from the model's side."""
