"""The command line of training and of the synthetic world."""
