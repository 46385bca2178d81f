"""The appliance on somebody else's bucket: another store process, bucket, region and credentials; only the configuration differs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.appliance import JPEG, Appliance, running
from tests.support.stores import OtherStore, byos_settings


def test_files_go_to_the_bucket_that_is_configured(tmp_path: Path, other_store: OtherStore) -> None:
    address = other_store.address
    with running(tmp_path, **byos_settings(address)) as appliance:
        slot = appliance.request(len(JPEG * 10)).json
        url = urlsplit(slot["uploadUrl"])
        assert f"{url.scheme}://{url.netloc}" == address.endpoint
        assert url.path.startswith(f"/{address.bucket}/pending/")
        assert "/eu-central-1/s3/" in parse_qs(url.query)["X-Amz-Credential"][0]
        file = appliance.upload(JPEG * 10)
        assert appliance.read(file["url"]).body == JPEG * 10
        assert not (appliance.data_dir / "store").exists(), "no bundled store is started beside it"
        logged = appliance.log()
    assert other_store.bucket(address.bucket).head(file["key"]) is not None
    assert address.secret_access_key not in logged


@pytest.mark.usefixtures("with_minio")
def test_the_suite_runs_on_minio_where_there_is_one(appliance: Appliance) -> None:
    assert appliance.fetch("GET", f"{appliance.base}/readyz").status == 200
