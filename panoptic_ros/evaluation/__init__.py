"""How good predictions are: metrics over images and videos, by the rules of those who defined them."""
