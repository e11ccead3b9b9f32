"""Faults and attacks as data: one story a `.dialogue` file, played by one scripted server in front of a healthy one."""
