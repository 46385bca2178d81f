"""Files of several kinds, made with the standard library: small, but real to a browser."""

from __future__ import annotations

import io
import math
import struct
import wave
import zipfile
import zlib


def png(width: int, height: int, hue: float) -> bytes:
    """A hilly landscape in one colour (0 to 1), for previews that can be told apart."""
    parts = [0.5 + 0.5 * math.cos(2 * math.pi * (hue + shift)) for shift in (0, 1 / 3, 2 / 3)]
    hills = [height * (0.55 + 0.2 * math.sin(x / width * 6 + hue * 9)) for x in range(width)]
    lines = bytearray()
    for y in range(height):
        ground, sky = (
            bytes(int(255 * light * (0.4 + 0.6 * part)) for part in parts) for light in (0.35 + 0.3 * y / height, 0.95 - 0.3 * y / height)
        )
        lines += b"\0" + b"".join(ground if y > hill else sky for hill in hills)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(lines))) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def pdf(text: str) -> bytes:
    """One page with one line."""
    stream = f"BT /F1 28 Tf 60 700 Td ({text}) Tj ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(made)
    return made + b"xref\n0 6\n0000000000 65535 f \n" + table + end


def wav(seconds: float) -> bytes:
    """A tone."""
    kept = io.BytesIO()
    with wave.open(kept, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(step / 4))) for step in range(int(8000 * seconds))))
    return kept.getvalue()


def archive(*names: str) -> bytes:
    """A ZIP archive with small texts."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, name * 50)
    return kept.getvalue()
