"""Media types by the ending of a file's name, and by their other names: one table for the appliance, the command line and the client.

Ours alone: what `/etc/mime.types` or the Windows registry say differs from machine to machine, and Python's own table from version to
version. The first name of a line is the one that browsers know (WHATWG MIME Sniffing), else the registered one (IANA). Imports nothing.
"""

from __future__ import annotations

UNKNOWN = "application/octet-stream"
# The name, its endings, and with a slash in them the other names by which it comes.
_TABLE = """
image/jpeg jpg jpeg jpe jfif pjpeg pjp image/jpg image/pjpeg image/x-jpeg image/x-jpg
image/png png image/x-png
image/apng apng image/vnd.mozilla.apng
image/gif gif image/x-gif
image/webp webp image/x-webp
image/avif avif avifs
image/heic heic image/x-heic
image/heif heif hif image/x-heif
image/heic-sequence heics
image/heif-sequence heifs
image/tiff tif tiff image/tif image/x-tif image/x-tiff
image/bmp bmp dib image/x-ms-bmp image/x-bmp image/x-windows-bmp
image/x-icon ico cur image/vnd.microsoft.icon image/ico image/icon
image/svg+xml svg svgz image/svg image/svg-xml
image/jxl jxl
image/jp2 jp2 jpg2
image/jpx jpx jpf
image/vnd.adobe.photoshop psd psb image/psd image/x-psd image/x-photoshop application/x-photoshop application/photoshop
image/x-adobe-dng dng image/dng
image/x-canon-cr2 cr2
image/x-canon-cr3 cr3
image/x-nikon-nef nef
image/x-sony-arw arw
image/x-fuji-raf raf
image/x-olympus-orf orf
image/x-panasonic-rw2 rw2
image/x-pentax-pef pef
image/x-exr exr image/aces
image/vnd.radiance hdr
image/x-tga tga image/x-targa image/tga
image/x-portable-anymap pnm
image/x-portable-bitmap pbm
image/x-portable-graymap pgm
image/x-portable-pixmap ppm
image/x-xbitmap xbm
image/x-xpixmap xpm
image/emf emf image/x-emf
image/wmf wmf image/x-wmf
image/vnd.dwg dwg image/x-dwg application/acad application/x-acad application/dwg
image/vnd.dxf dxf image/x-dxf application/dxf application/x-dxf
image/vnd.djvu djvu djv image/x-djvu image/x.djvu
image/ktx2 ktx2
video/mp4 mp4 m4v mp4v mpg4 video/x-m4v video/m4v video/x-mp4
video/quicktime mov qt video/mov
video/webm webm
video/x-matroska mkv mk3d video/matroska
video/ogg ogv ogx video/x-ogg video/theora
video/mpeg mpeg mpg mpe m1v m2v vob video/x-mpeg video/mpg
video/mp2t ts mts m2ts m2t video/mpegts video/vnd.dlna.mpeg-tts
video/x-msvideo avi video/avi video/msvideo video/vnd.avi
video/x-ms-wmv wmv
video/x-ms-asf asf video/vnd.ms-asf
video/x-flv flv video/flv
video/x-f4v f4v
video/3gpp 3gp 3gpp video/3gp
video/3gpp2 3g2 3gp2 video/3g2
audio/mpeg mp3 mp2 mpga m2a audio/mp3 audio/x-mp3 audio/x-mpeg audio/mpeg3 audio/x-mpeg-3 audio/mpg audio/x-mpg
audio/mp4 m4a m4b m4r mp4a audio/x-m4a audio/m4a audio/x-mp4
audio/aac aac adts audio/x-aac audio/aacp audio/x-hx-aac-adts
audio/wav wav wave audio/x-wav audio/wave audio/vnd.wave audio/x-pn-wav
audio/ogg ogg oga opus spx audio/x-ogg audio/opus audio/vorbis audio/x-vorbis audio/x-vorbis+ogg
audio/webm weba
audio/x-matroska mka audio/matroska
audio/flac flac audio/x-flac
audio/midi mid midi kar rmi audio/x-midi audio/mid
audio/aiff aif aiff aifc audio/x-aiff
audio/x-ms-wma wma
audio/amr amr audio/x-amr
audio/3gpp
audio/3gpp2
audio/x-caf caf
audio/basic au snd audio/x-au
audio/ape ape audio/x-ape audio/x-monkeys-audio
audio/mpegurl m3u audio/x-mpegurl
audio/x-scpls pls
application/ogg application/x-ogg
application/vnd.apple.mpegurl m3u8 application/x-mpegurl
application/dash+xml mpd
application/pdf pdf application/x-pdf application/acrobat application/vnd.pdf text/pdf text/x-pdf
application/postscript ps eps ai
application/rtf rtf text/rtf application/x-rtf text/richtext
application/epub+zip epub
application/x-mobipocket-ebook mobi prc
application/vnd.amazon.ebook azw azw3
application/msword doc dot application/vnd.ms-word application/x-msword application/word
application/vnd.ms-excel xls xlt xlb application/msexcel application/x-msexcel application/excel application/x-excel application/x-ms-excel
application/vnd.ms-powerpoint ppt pps pot application/mspowerpoint application/powerpoint application/x-mspowerpoint
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.openxmlformats-officedocument.wordprocessingml.template dotx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.spreadsheetml.template xltx
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.presentationml.slideshow ppsx
application/vnd.openxmlformats-officedocument.presentationml.template potx
application/vnd.ms-word.document.macroenabled.12 docm
application/vnd.ms-excel.sheet.macroenabled.12 xlsm
application/vnd.ms-excel.sheet.binary.macroenabled.12 xlsb
application/vnd.ms-powerpoint.presentation.macroenabled.12 pptm
application/vnd.ms-outlook msg
application/vnd.visio vsd vsdx
application/vnd.ms-project mpp
application/x-msaccess mdb accdb
application/onenote one
application/vnd.oasis.opendocument.text odt
application/vnd.oasis.opendocument.text-template ott
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.spreadsheet-template ots
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.graphics odg
application/vnd.oasis.opendocument.formula odf
application/vnd.oasis.opendocument.database odb
application/vnd.apple.pages pages application/x-iwork-pages-sffpages
application/vnd.apple.numbers numbers application/x-iwork-numbers-sffnumbers
application/vnd.apple.keynote application/x-iwork-keynote-sffkey
text/plain txt text log conf cfg ini srt bat c h pl lrc properties
text/csv csv text/comma-separated-values text/x-comma-separated-values text/x-csv application/csv application/x-csv
text/tab-separated-values tsv tab text/tsv
text/markdown md markdown mkd text/x-markdown
text/html html htm shtml
application/xhtml+xml xhtml xht
text/css css
text/javascript js mjs cjs application/javascript application/x-javascript text/x-javascript application/ecmascript text/ecmascript
text/calendar ics ifb
text/vcard vcf vcard text/x-vcard text/directory
text/vtt vtt
text/x-python py pyw
text/x-c++src cpp cc cxx
text/x-java-source java
text/x-diff diff patch
text/x-tex tex latex application/x-tex application/x-latex
application/x-bibtex bib
application/json json map text/json text/x-json application/x-json
application/ld+json jsonld
application/geo+json geojson
application/manifest+json webmanifest
application/x-ndjson ndjson jsonl application/ndjson application/jsonl application/x-jsonlines application/jsonlines
application/x-ipynb+json ipynb
application/xml xml xsd rng text/xml application/x-xml
application/xslt+xml xsl xslt
application/rss+xml rss application/x-rss+xml
application/atom+xml atom
application/rdf+xml rdf
application/gpx+xml gpx application/gpx
application/vnd.google-earth.kml+xml kml
application/vnd.google-earth.kmz kmz
application/yaml yaml yml application/x-yaml text/yaml text/x-yaml
application/toml toml text/toml text/x-toml
application/sql sql application/x-sql text/sql text/x-sql
application/x-sh sh bash text/x-sh text/x-shellscript application/x-shellscript
application/x-httpd-php php application/x-php text/x-php
application/vnd.sqlite3 sqlite sqlite3 db3 application/x-sqlite3
application/vnd.apache.parquet parquet application/x-parquet
application/vnd.apache.arrow.file arrow feather
application/x-hdf5 h5 hdf5
application/zip zip application/x-zip-compressed application/x-zip application/zip-compressed application/x-compressed-zip multipart/x-zip
application/gzip gz tgz taz gzip application/x-gzip application/x-gunzip application/gzipped application/x-gtar-compressed
application/x-bzip2 bz2 tbz tbz2 bz application/x-bzip application/bzip2
application/x-xz xz txz application/xz
application/zstd zst tzst application/x-zstd
application/x-lzma lzma
application/x-lz4 lz4
application/x-7z-compressed 7z application/7z application/x-7z
application/vnd.rar rar application/x-rar-compressed application/x-rar application/rar
application/x-tar tar application/tar application/x-gtar application/x-ustar
application/vnd.comicbook+zip cbz application/x-cbz
application/vnd.comicbook-rar cbr application/x-cbr
application/x-iso9660-image iso application/x-cd-image
application/x-apple-diskimage dmg
application/vnd.ms-cab-compressed cab application/x-cab
application/java-archive jar war ear application/x-java-archive
application/vnd.android.package-archive apk
application/vnd.debian.binary-package deb application/x-deb application/x-debian-package
application/x-rpm rpm application/x-redhat-package-manager
application/x-msi msi
application/x-xpinstall xpi
application/vnd.microsoft.portable-executable exe dll sys application/x-msdownload application/x-msdos-program application/x-dosexec application/x-ms-dos-executable application/exe application/x-exe
application/wasm wasm
font/woff woff application/font-woff application/x-font-woff
font/woff2 woff2 application/font-woff2
font/ttf ttf application/x-font-ttf application/font-sfnt application/x-font-truetype
font/otf otf application/x-font-otf application/x-font-opentype
font/collection ttc
application/vnd.ms-fontobject eot
model/gltf-binary glb
model/gltf+json gltf
model/stl stl application/sla application/vnd.ms-pki.stl application/x-stl
model/obj obj
model/3mf 3mf application/vnd.ms-package.3dmanufacturing-3dmodel+xml
model/step step stp application/step
model/vnd.usdz+zip usdz
message/rfc822 eml mht mhtml
application/mbox mbox
application/pgp-encrypted pgp gpg
application/pgp-signature sig
application/pgp-keys asc
application/x-pkcs12 p12 pfx
application/x-x509-ca-cert crt cer der
application/x-pem-file pem
application/pkcs7-mime p7m p7c application/x-pkcs7-mime
application/x-bittorrent torrent
application/octet-stream bin application/x-octet-stream binary/octet-stream application/unknown application/x-unknown application/binary unknown/unknown application/force-download application/x-download application/x-binary
"""  # noqa: E501 (one type, one line)

_CANONICAL: dict[str, str] = {}
_ALIASES: dict[str, tuple[str, ...]] = {}
_ENDINGS: dict[str, str] = {}
for _line in _TABLE.split("\n"):
    if not _line:
        continue
    _name, *_rest = _line.split(" ")
    _aliases = tuple(word for word in _rest if "/" in word)
    _ALIASES[_name] = (_name, *_aliases)
    _CANONICAL.update(dict.fromkeys(_aliases, _name))
    _ENDINGS.update(dict.fromkeys((word for word in _rest if "/" not in word), _name))


def canonical(name: str) -> str:
    """Return the one name of a media type that has several; `name` is in lower case and without parameters."""
    return _CANONICAL.get(name, name)


def names_of(name: str) -> tuple[str, ...]:
    """Return all names of the media type that `name` is one of, the one that counts first."""
    first = canonical(name)
    return _ALIASES.get(first, (first,))


def type_of_name(file_name: str) -> str | None:
    """Return the media type that the ending of a file's name stands for; None where it stands for none that we know."""
    stem, dot, ending = file_name.strip().rpartition(".")
    return _ENDINGS.get(ending.lower()) if dot and stem else None
