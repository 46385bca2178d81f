"""Backups of the appliance, made while it runs: rows, secrets and bytes, at a folder or a bucket (docs/backup.md).

An object never changes once its file is verified, so what a target has of it is never sent again.
"""
