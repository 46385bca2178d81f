"""Twelve months of a project, as a table and as CSV."""

from __future__ import annotations

import csv
import io

from flask import Response, g, render_template

from uploadkit import usage
from uploadkit.web import context
from uploadkit.web.dashboard.gate import caller, project


@project.get("/usage")
def show_usage() -> str:
    """Show what is used now and what happened in each of the last twelve months."""
    months = usage.history(caller())
    return render_template("dashboard/usage.html", now=usage.present(context().config, caller()), months=months)


@project.get("/usage.csv")
def download_usage() -> Response:
    """Answer the same months as CSV, sizes in bytes."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("period", "uploads", "bytes_uploaded", "bytes_deleted"))
    table.writerows(usage.history(caller()))
    answer = Response(text.getvalue(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="usage-{g.project.slug}-{g.environment}.csv"'
    return answer
