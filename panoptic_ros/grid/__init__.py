"""The semantic occupancy grid: what is free, occupied, by what and by which instance, without ROS."""
