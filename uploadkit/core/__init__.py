"""What knows nothing of UploadKit: errors, the clock, media types, files that survive a power cut."""
