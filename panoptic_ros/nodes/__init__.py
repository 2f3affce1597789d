"""The ROS 2 nodes: parameters, subscriptions, timing and publishing around the pipeline, and nothing else."""
