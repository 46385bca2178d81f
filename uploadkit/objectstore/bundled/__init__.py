"""The store that comes with the appliance: its process, its ports, its disk."""
