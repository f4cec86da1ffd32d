"""A card's picture: it goes up with the card, comes down as it went, and brings no words along."""

from __future__ import annotations

import runpy
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ecgvision.zoo.card import CardError
from ecgvision.zoo.catalogue import catalogue
from ecgvision.zoo.hub import Hub
from ecgvision.zoo.links import local_links
from ecgvision.zoo.packing import pack
from ecgvision.zoo.picture import PICTURE, PictureError, drawn_anew, read_picture
from ecgvision.zoo.push import push

from .conftest import CARD
from .server import HubServer
from .test_hub_push import MakeRun, files_of

# The client's own way of sending large files.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

WAYS = ("as given", "temperature")
SHOWN = "![How often it was so](calibration.png)\n"
HEAD = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 0)
ROWS = bytes([0, 10, 20, 30, 0, 40, 50, 60])


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*more: bytes, head: bytes = HEAD, packed: bytes = zlib.compress(ROWS)) -> bytes:
    """Six grey pixels, with more chunks before them."""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more)
    return start + chunk(b"IDAT", packed) + chunk(b"IEND")


def saved(**options: object) -> bytes:
    """As Pillow writes it."""
    written = BytesIO()
    Image.new("RGB", (8, 8), "white").save(written, "PNG", **options)  # type: ignore[arg-type]
    return written.getvalue()


def of_kind(mode: str, **options: object) -> bytes:
    """A picture of one of Pillow's kinds, of several values."""
    written = BytesIO()
    image = Image.new("RGB", (8, 6), "navy")
    image.paste("orange", (2, 1, 6, 4))
    kind = Image.new(mode, image.size) if mode == "I;16" else image.convert(mode)
    kind.save(written, "PNG", **options)  # type: ignore[arg-type]
    return written.getvalue()


def kinds(data: bytes) -> list[bytes]:
    """The names of a PNG's chunks."""
    found, at = [], 8
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4])
    return found


def with_text() -> PngInfo:
    info = PngInfo()
    info.add_text("Author", "Dr Nobody, ward 7")
    return info


@pytest.fixture
def shown(card: Path) -> Path:
    """A card with its picture."""
    card.write_text(CARD + SHOWN)
    (card.parent / "calibration.png").write_bytes(png())
    return card


# --- up and down ------------------------------------------------------------------------------


@pytest.mark.usefixtures("token")
def test_a_card_s_picture_goes_up_and_comes_down_as_it_was(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, shown: Path, tmp_path: Path
) -> None:
    entry = push(hub, pack(make_run(), shown), name).entry
    up = files_of(server, name)
    drawn = up["calibration.png"]
    assert drawn == drawn_anew("it.png", png())
    assert SHOWN in up["README.md"].decode()
    (listed,) = [file for file in entry.files if file.role == "picture"]
    assert (listed.name, listed.bytes) == ("calibration.png", len(drawn))
    other = Hub(server.url, tmp_path / "another")
    pulled = other.pull(entry)["calibration.png"]
    assert pulled.read_bytes() == drawn
    assert {one.file.name: one.problem for one in other.verify(entry)}["calibration.png"] == ""
    pulled.resolve().chmod(0o644)
    pulled.resolve().write_bytes(drawn[:-1] + b"?")
    checked = {one.file.name: one.problem for one in other.verify(entry)}
    assert checked["calibration.png"].startswith("expected SHA-256")


@pytest.mark.usefixtures("token")
def test_a_picture_goes_when_a_version_has_none(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, shown: Path, tmp_path: Path
) -> None:
    first = push(hub, pack(make_run(), shown), name).entry
    # It still lies beside the card, which does not show it any more.
    shown.write_text(CARD)
    second = push(hub, pack(make_run(seed=2), shown), name).entry
    assert "calibration.png" not in files_of(server, name)
    assert "picture" not in {file.role for file in second.files}
    # Who has the older model.toml still gets the older files.
    pulled = Hub(server.url, tmp_path / "another").pull(first)
    assert pulled["calibration.png"].read_bytes() == drawn_anew("it.png", png())


@pytest.mark.usefixtures("token")
def test_a_picture_is_no_foreign_file(
    server: HubServer, hub: Hub, name: str, make_run: MakeRun, card: Path
) -> None:
    server.add(name, {"README.md": b"ours", "calibration.png": b"ours"})
    push(hub, pack(make_run(), card), name)
    assert "calibration.png" not in files_of(server, name)


# --- what a card leads to ---------------------------------------------------------------------


def test_a_picture_that_is_not_there_is_missed(make_run: MakeRun, card: Path) -> None:
    card.write_text(CARD + SHOWN)
    with pytest.raises(
        PictureError, match=r"tiny/calibration\.png: expected the picture .*found none; put it"
    ) as raised:
        pack(make_run(), card)
    assert raised.value.code == "not-for-the-hub"


def test_a_link_or_a_folder_is_no_picture(make_run: MakeRun, shown: Path, tmp_path: Path) -> None:
    picture = shown.parent / "calibration.png"
    picture.rename(tmp_path / "elsewhere.png")
    picture.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(PictureError, match=r"calibration\.png: expected a file, found a link"):
        pack(make_run(), shown)
    picture.unlink()
    picture.mkdir()
    with pytest.raises(PictureError, match="found none"):
        pack(make_run(), shown)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("![other](roc.png)", "found 'roc.png'"),
        ("![it](./calibration.png)", r"found '\./calibration\.png'.*the one picture that goes up"),
        ("[more](../docs/train.md#start)", r"found '\.\./docs/train\.md'"),
        ("[more][1]\n\n[1]: notes.md", r"found 'notes\.md'"),
        ("| a |\n|---|\n| [more](a.md) |", r"found 'a\.md'"),
        # A cell ends at its line, though code would go on.
        ("| a | b | c |\n|---|---|---|\n| `x | [more](a.md) | y` |", r"found 'a\.md'"),
        ('<img alt="x" src="roc.png">', r"found 'roc\.png'"),
        ('Text <a href="/srv/x">x</a>', "found '/srv/x'"),
        ('<picture><source srcset="dark.png 2x"></picture>', r"found 'dark\.png'"),
        ("[x](file:///srv/x)", "found 'file:///srv/x'"),
        ("![x](data:image/png;base64,AAAA)", "found 'data:"),
        ("[ONNX](model.onnx)", r"found 'model\.onnx'"),  # which the run has not
    ],
)
def test_what_the_hub_would_not_have_is_no_link(
    text: str, told: str, make_run: MakeRun, card: Path
) -> None:
    for name in ("roc.png", "notes.md", "a.md", "dark.png", "calibration.png"):
        (card.parent / name).write_bytes(png())
    card.write_text(f"{CARD}\n{text}\n")
    with pytest.raises(CardError, match=rf"^card\.md: expected links to the web.*{told}"):
        pack(make_run(), card)


@pytest.mark.parametrize(
    "text",
    [
        "[doi](https://doi.org/10.1/x) <https://example.org> [post](mailto:a@example.org)",
        "[above](#a-tiny-network)",
        "`![x](roc.png)`\n\n```\n[x](notes.md)\n```",
        "<!-- [x](notes.md) <img src='roc.png'> -->",
        "[its settings](config.json) and [weights](weights.safetensors)",
    ],
)
def test_links_that_lead_somewhere_are_fine(text: str, make_run: MakeRun, card: Path) -> None:
    (card.parent / "calibration.png").write_bytes(b"not shown, so not even looked at")
    card.write_text(f"{CARD}\n{text}\n")
    packed = pack(make_run(), card)
    assert text in packed.files["README.md"].decode()
    assert "calibration.png" not in packed.files


# --- what a picture holds ---------------------------------------------------------------------


def plotted(**metadata: object) -> bytes:
    """As matplotlib writes it."""
    written = BytesIO()
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    figure.savefig(written, format="png", metadata=metadata or None)
    return written.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        saved,
        plotted,
        lambda: plotted(Software=None, Author="Dr Nobody, ward 7"),
        lambda: saved(dpi=(100, 100), optimize=True),
        lambda: saved(pnginfo=with_text()),
        lambda: saved(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        lambda: saved(icc_profile=b"a profile of ward 7"),
        lambda: png(chunk(b"zTXt", b"Author\0\0" + zlib.compress(b"ward 7"))),
        lambda: png(chunk(b"iTXt", b"Author\0\0\0\0\0Nobody")),
        lambda: png(chunk(b"tIME", bytes(7))),
        lambda: png(chunk(b"prVt", b"ward 7")),
        lambda: png() + b"ward 7",
        lambda: of_kind("P", transparency=0),
        lambda: of_kind("LA"),
        lambda: of_kind("1"),
        lambda: of_kind("RGBA"),
    ],
)
def test_pixels_go_up_and_nothing_else(make: Callable[[], bytes]) -> None:
    """What may go up is made of pixels alone, whatever the file held besides."""
    drawn = drawn_anew("it.png", make())
    with Image.open(BytesIO(make())) as before, Image.open(BytesIO(drawn)) as after:
        assert before.convert("RGBA").tobytes() == after.convert("RGBA").tobytes()
        assert after.size == before.size
    assert set(kinds(drawn)) == {b"IHDR", b"IDAT", b"IEND"}
    assert drawn.endswith(chunk(b"IEND"))
    assert drawn_anew("it.png", drawn) == drawn


def test_words_beside_the_card_stay_there(make_run: MakeRun, shown: Path) -> None:
    (shown.parent / "calibration.png").write_bytes(saved(pnginfo=with_text()))
    packed = pack(make_run(), shown)
    assert not [name for name, data in packed.files.items() if b"ward 7" in data]
    assert kinds(packed.files["calibration.png"])[-1] == b"IEND"


WIDE = struct.pack(">IIBBBBB", 5000, 2, 8, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "expected a whole PNG, found something else"),
        (b"\xff\xd8\xff\xe0 a photo", "expected a whole PNG"),
        (plotted()[: len(plotted()) // 2], "expected a whole PNG"),
        (png()[:40], "expected a whole PNG"),
        (png().replace(b"IDAT", b"IDAT" + b"?", 1), "expected a whole PNG"),
        (png(packed=b"ward 7"), "expected a whole PNG"),
        (png(packed=zlib.compress(ROWS[:-5])[:-6]), "expected a whole PNG"),
        (png(head=WIDE), "found 5,000 x 2; draw it smaller"),
        (png(head=struct.pack(">IIBBBBB", 3, 0, 8, 0, 0, 0, 0)), "expected a whole PNG"),
    ],
)
def test_what_is_no_small_whole_picture_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(PictureError, match=rf"^it\.png: .*{told}"):
        drawn_anew("it.png", data)


def test_sixteen_bits_are_refused() -> None:
    with pytest.raises(PictureError, match=r"expected 8 bits for each colour, found .* I;16"):
        drawn_anew("it.png", of_kind("I;16"))


def test_a_picture_is_small(tmp_path: Path) -> None:
    noise = zlib.compress(bytes(1_000_001), 0)
    path = tmp_path / "calibration.png"
    path.write_bytes(png(packed=noise))
    with pytest.raises(PictureError, match="expected 1,000,000 bytes at most, found more"):
        read_picture(path)


def test_a_card_s_plot_may_go_up_as_it_is_drawn(tmp_path: Path) -> None:
    rows = ["model,rows,scaled,task,predicted,observed,low,high"]
    rows += [f"net,all,{how},mi,0.{n},0.{n},0.{n - 1},0.{n + 1}" for how in WAYS for n in (2, 5)]
    (tmp_path / "calibration.csv").write_text("\n".join(rows))
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "card.py"
    drawing = runpy.run_path(str(script))
    drawing["calibration_plot"](tmp_path, "net", tmp_path / drawing["PLOT"])
    assert drawing["PLOT"] == PICTURE
    read_picture(tmp_path / PICTURE)


@pytest.mark.parametrize("name", list(catalogue()))
def test_the_cards_of_the_catalogue_could_go_up_as_they_are(name: str) -> None:
    card = catalogue()[name].card
    assert card is not None
    links = local_links(card.read_text(encoding="utf-8"))
    there = {"calibration.png"} if (card.parent / "calibration.png").exists() else set()
    # A picture that no card shows is one that was forgotten.
    assert set(links) == there
    for one in links:
        read_picture(card.parent / one)
