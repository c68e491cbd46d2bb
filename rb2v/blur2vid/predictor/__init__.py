"""Prediction of motion guidance from a blurry image: networks with a latent, their training, samples and scores."""
