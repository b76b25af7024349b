"""Archives are unpacked into their folder, and nowhere else."""

import io
import stat
import tarfile
import zipfile

import pytest

from aexp_torch.errors import SpecError
from aexp_torch.sources.archives import extract


def make_tar(path, *members):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for member in members:
            info = tarfile.TarInfo(member["name"])
            info.type, info.linkname = member.get("type", tarfile.REGTYPE), member.get("linkname", "")
            info.mode = member.get("mode", 0o644)
            content = member.get("content", b"") if info.type == tarfile.REGTYPE else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def make_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for member in members:
            info = zipfile.ZipInfo(member["name"])
            info.external_attr = member.get("mode", stat.S_IFREG | 0o644) << 16
            zipped.writestr(info, member.get("content", b""))
    return path


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("make, name", [(make_tar, "a.tar"), (make_tar, "a.tar.gz"), (make_zip, "a.zip")])
def test_members_come_out_as_they_went_in(tmp_path, make, name):
    archive = make(tmp_path / name, {"name": "one/two.txt", "content": b"2"}, {"name": "three.txt", "content": b"3"})
    folder = extract(archive, tmp_path / "new" / "folder")
    assert everything_in(folder) == ["one", "one/two.txt", "three.txt"]
    assert (folder / "one" / "two.txt").read_bytes() == b"2"
    assert everything_in(tmp_path / "new") == ["folder", "folder/one", "folder/one/two.txt", "folder/three.txt"]


LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
EVIL_TARS = {
    "parent": [{"name": "../evil", "content": b"!"}],
    "parent within": [{"name": "a/../../evil", "content": b"!"}],
    "absolute": [{"name": "/evil", "content": b"!"}],
    "link out": [{"name": "link", "type": LINK, "linkname": "../evil"}],
    "absolute link": [{"name": "link", "type": LINK, "linkname": "/etc"}],
    "through a link": [{"name": "link", "type": LINK, "linkname": ".."}, {"name": "link/evil", "content": b"!"}],
    "hard link out": [{"name": "link", "type": HARD, "linkname": "../evil"}],
    "device": [{"name": "device", "type": tarfile.CHRTYPE}],
}
EVIL_ZIPS = {
    "parent": [{"name": "../evil", "content": b"!"}],
    "parent within": [{"name": "a/../../evil", "content": b"!"}],
    "parent, backwards": [{"name": "..\\evil", "content": b"!"}],
    "absolute": [{"name": "/evil", "content": b"!"}],
    "drive": [{"name": "C:/evil", "content": b"!"}],
    "link": [{"name": "link", "mode": stat.S_IFLNK | 0o777, "content": b".."}],
}
EVIL = [(make_tar, "tar", kind, members) for kind, members in EVIL_TARS.items()]
EVIL += [(make_zip, "zip", kind, members) for kind, members in EVIL_ZIPS.items()]


@pytest.mark.parametrize("make, suffix, kind, members", EVIL, ids=[f"{row[1]}: {row[2]}" for row in EVIL])
def test_nothing_leaves_the_folder(tmp_path, make, suffix, kind, members):
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = make(tmp_path / f"evil.{suffix}", {"name": "good.txt", "content": b"good"}, *members)
    with pytest.raises(SpecError, match="expected an archive whose members stay in their folder"):
        extract(archive, inner / "folder")
    assert everything_in(tmp_path) == [f"evil.{suffix}", "inner"]  # not even the good one, not even a part


def test_permissions_are_plain(tmp_path):
    archive = make_tar(tmp_path / "a.tar", {"name": "program", "content": b"", "mode": 0o6777})
    mode = (extract(archive, tmp_path / "folder") / "program").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)


@pytest.mark.parametrize("make, name", [(make_tar, "a.tar"), (make_zip, "a.zip")])
def test_bombs_are_stopped(tmp_path, make, name):
    archive = make(tmp_path / name, {"name": "zeros", "content": bytes(100_000)})
    with pytest.raises(SpecError, match="expected at most 50000 bytes"):
        extract(archive, tmp_path / "folder", max_bytes=50_000)
    assert everything_in(tmp_path) == [name]


def test_other_files_and_full_folders_are_refused(tmp_path):
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(SpecError, match="expected a tar or zip archive"):
        extract(tmp_path / "text", tmp_path / "folder")
    archive = make_tar(tmp_path / "a.tar", {"name": "good.txt", "content": b"good"})
    with pytest.raises(SpecError, match="expected a folder that is new or empty"):
        extract(archive, tmp_path)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(
        make_zip(tmp_path / "b.zip", {"name": "zeros", "content": bytes(range(256)) * 99}).read_bytes()[:300]
    )
    with pytest.raises(SpecError, match="extract"):
        extract(cut, tmp_path / "folder")
