"""The parts of an upload keep S3's limits, whatever its size. Source: Amazon S3 multipart upload limits."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from uploadkit.core.sizes import LARGEST_OBJECT_BYTES, MIB
from uploadkit.db.models import File
from uploadkit.files.multipart_upload import MOST_PARTS, MULTIPART_ABOVE_BYTES, part_count, part_size

GIB = 1024**3
SIZES = st.integers(MULTIPART_ABOVE_BYTES + 1, LARGEST_OBJECT_BYTES)
BORDERS = st.builds(lambda at, off: min(max(at + off, MULTIPART_ABOVE_BYTES + 1), LARGEST_OBJECT_BYTES), SIZES, st.integers(-2, 2))


@given(SIZES | BORDERS | st.integers(4_900 * GIB, LARGEST_OBJECT_BYTES))
@example(MULTIPART_ABOVE_BYTES + 1)
@example(5_000 * MIB)
@example(5_000 * MIB + 1)
@example(5_000 * GIB)
@example(5_000 * GIB + 1)
@example(LARGEST_OBJECT_BYTES - 1)
@example(LARGEST_OBJECT_BYTES)
def test_parts_keep_the_limits(size_bytes: int) -> None:
    each = part_size(size_bytes)
    count = part_count(File(size_bytes=size_bytes, part_size_bytes=each))
    assert 5 * MIB <= each <= 5 * GIB
    assert each % MIB == 0
    assert 1 < count <= MOST_PARTS
    last = size_bytes - (count - 1) * each
    assert 0 < last <= each
    # More than a comfortable thousand only where no part may be larger.
    assert count <= 1_000 or each == 5 * GIB
