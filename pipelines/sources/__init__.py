"""Where documents come from: files and their formats, the plan of ranges, reading a range, models among the inputs."""
