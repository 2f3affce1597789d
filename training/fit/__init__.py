"""The training loop: what is ours around PyTorch Lightning's Trainer."""
