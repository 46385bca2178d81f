"""Rows of `admin` and `setup_link`."""

from __future__ import annotations

from uploadkit.core.ids import new_id
from uploadkit.db.models import Admin, SetupLink


def find_admin(admin_id: str) -> Admin | None:
    """Return the admin with this id."""
    found: Admin | None = Admin.get_or_none(Admin.id == admin_id)
    return found


def find_admin_by_email(email: str) -> Admin | None:
    """Return the admin with this address, which is in small letters."""
    found: Admin | None = Admin.get_or_none(Admin.email == email)
    return found


def is_admin(email: str) -> bool:
    """Say whether there is an admin with this address, which is in small letters."""
    return bool(Admin.select().where(Admin.email == email).exists())


def is_there_an_admin() -> bool:
    """Say whether there is any admin."""
    return bool(Admin.select().exists())


def count_admins() -> int:
    """Return how many admins there are."""
    return int(Admin.select().count())


def all_admins() -> list[Admin]:
    """Return all admins, the oldest first."""
    return list(Admin.select().order_by(Admin.created_at, Admin.id))


def insert_admin(email: str, password_hash: str, created_at: int) -> Admin:
    """Add an admin, whose password is as old as they are; return them. Raises peewee.IntegrityError when the address is taken."""
    admin: Admin = Admin.create(
        id=new_id(), email=email, password_hash=password_hash, created_at=created_at, password_changed_at=created_at
    )
    return admin


def password_hash_of(admin_id: str) -> str | None:
    """Return the hash of an admin's password as it is now; None when there is no such admin."""
    found: str | None = Admin.select(Admin.password_hash).where(Admin.id == admin_id).scalar()
    return found


def change_password(admin_id: str, present_hash: str, password_hash: str, at: int) -> bool:
    """Change an admin's password where it still is the one with `present_hash`; say whether it was."""
    changed = Admin.update(password_hash=password_hash, password_changed_at=at)
    return bool(changed.where(Admin.id == admin_id, Admin.password_hash == present_hash).execute())


def has_password_from(email: str, first: int, last: int) -> bool:
    """Say whether the password of the admin with this address was set between `first` and `last`, both included."""
    return bool(Admin.select().where(Admin.email == email, Admin.password_changed_at.between(first, last)).exists())


def delete_admin(admin_id: str) -> None:
    """Delete an admin, and their sessions with them."""
    Admin.delete().where(Admin.id == admin_id).execute()


def is_there_a_setup_link(now: int) -> bool:
    """Say whether there is a set-up link that has not expired."""
    return bool(SetupLink.select().where(SetupLink.expires_at > now).exists())


def is_setup_link(token_hash: str, now: int) -> bool:
    """Say whether there is a set-up link with this hash that has not expired."""
    return bool(SetupLink.select().where(SetupLink.token_hash == token_hash, SetupLink.expires_at > now).exists())


def insert_setup_link(token_hash: str, created_at: int, expires_at: int) -> None:
    """Add a set-up link."""
    SetupLink.create(token_hash=token_hash, created_at=created_at, expires_at=expires_at)


def use_up_setup_link(token_hash: str, now: int) -> bool:
    """Delete a set-up link that has not expired; say whether it was there."""
    return bool(SetupLink.delete().where(SetupLink.token_hash == token_hash, SetupLink.expires_at > now).execute())


def delete_setup_links() -> None:
    """Delete all set-up links."""
    SetupLink.delete().execute()
