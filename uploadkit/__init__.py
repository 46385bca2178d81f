"""UploadKit as an appliance: file uploads on your own machine."""

__version__ = "0.1.0"
