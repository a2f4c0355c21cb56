"""`convlens explain`: answers printed, pictures and pages written, errors that say what to do."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from convlens import explain, nn
from convlens.cli import main
from convlens.cli.why import MOST_ROWS, Labels

image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


@pytest.fixture
def explained(capsys, saved, tmp_path):
    """Run the command on files of the test's folder: exit code, what it printed, errors."""

    def run(*arguments, net=saved[1]):
        code = main(["explain", str(net), *(str(a).replace("{dir}", str(tmp_path)) for a in arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def picture(tmp_path):
    """The path of a photograph of noise."""

    def make(name="picture.png", seed=0):
        pixels = np.random.default_rng(seed).integers(256, size=(24, 20, 3), dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels.txt").write_text("zero\none\ntwo, pair\nthree\n")
    return tmp_path / "labels.txt"


def test_every_method_asked_for_is_drawn(explained, picture, labels, tmp_path):
    methods = "saliency,grad_cam,occlusion,integrated_gradients"
    out = tmp_path / "why.png"
    code, text, err = explained(
        *(picture(), "--method", methods, "--option", "n_steps=7", "--target", "pair", "--labels", labels, "--out", out)
    )
    assert (code, err) == (0, "")
    lines = text.splitlines()
    assert lines[0] == "picture.png"
    shares = [re.fullmatch(r"  (\d) (zero|one|two, pair|three) +(\d.*)", line).groups() for line in lines[1:5]]
    assert sorted(number for number, _, _ in shares) == list("0123")
    values = [float(share) for _, _, share in shares]
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=2e-3)
    assert re.fullmatch(r"  explained: class 2 two, pair, linear1 \S+, probability 0\.\d{3}", lines[5])
    assert re.fullmatch(r"  Grad-CAM: layer \w+", lines[6])
    assert re.fullmatch(r"  Integrated gradients: delta \S+", lines[7])
    assert "note: picture.png: colour made grey (0.299 R + 0.587 G + 0.114 B)" in lines
    assert lines[-1] == f"wrote {out}"
    with image.open(out) as drawn:
        assert min(drawn.size) > 100


def test_what_is_printed_is_what_the_library_says(explained, saved, tmp_path):
    net, _ = saved
    images = np.random.default_rng(0).normal(size=(3, 1, 12, 10)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    code, out, _ = explained("{dir}/x.npy", "--out", "{dir}/why.png", "--batch", 2)
    assert code == 0
    why = explain.saliency(net, images)
    for i in range(3):
        score, chance = float(why.score[i]), float(why.probability[i])
        assert f"x.npy[{i}]\n" in out
        assert f"explained: class {why.target[i]}, linear1 {score:.4g}, probability {chance:.3f}" in out
    assert "note:" not in out


def test_batches_do_not_change_what_is_written(explained, picture, tmp_path):
    pictures = [picture(f"{i}.png", i) for i in range(5)]
    pages = []
    for batch in (1, 2, 5):
        methods = ("--method", "smooth_grad,saliency", "--batch", batch)
        code, _, err = explained(*pictures, *methods, "--out", tmp_path / "why.html")
        assert (code, err) == (0, "")
        pages.append((tmp_path / "why.html").read_bytes())
    assert pages[0] == pages[1] == pages[2]
    assert pages[0].count(b"<h2>") == 5


def test_page_holds_every_image_with_words_for_those_who_do_not_see_it(explained, picture, labels, tmp_path):
    pictures = [picture(f"{i}.png", i) for i in range(MOST_ROWS + 1)]
    code, _, err = explained(*pictures, "--labels", labels, "--out", tmp_path / "why.html")
    assert (code, err) == (0, "")
    page = (tmp_path / "why.html").read_text()
    assert len(re.findall('<img src="data:image/png;base64,[^"]{1000,}" alt="1 image.s. explained by', page)) == len(
        pictures
    )
    assert page.endswith("</html>\n")
    assert "<h2>7.png</h2>" in page
    code, _, err = explained(*pictures, "--out", tmp_path / "why.png")
    assert code == 1
    assert "there are 25: write a page, .html" in err


def test_a_file_that_cannot_be_read_stops_none_of_the_others(explained, picture, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    np.save(tmp_path / "nan.npy", np.full((1, 1, 12, 10), np.nan, np.float32))
    broken = [f"{{dir}}/{name}" for name in ("broken.png", "absent.png", "nan.npy")]
    code, out, err = explained(picture("a.png"), *broken, picture("b.png"), "--out", "{dir}/w.png")
    assert code == 1
    assert [line for line in out.splitlines() if line.endswith(".png") and " " not in line] == ["a.png", "b.png"]
    assert "broken.png" in err
    assert "absent.png: No such file or directory" in err
    assert "nan.npy has NaN" in err
    assert err.count("\n") == 3
    assert (tmp_path / "w.png").exists()


def test_nothing_is_written_without_an_answer(explained, tmp_path):
    code, out, _ = explained("{dir}/a.png", "{dir}/b.png", "--out", "{dir}/w.html")
    assert (code, out) == (1, "")
    assert not list(tmp_path.glob("*w.html*"))


def test_an_interrupt_keeps_what_was_finished(explained, picture, tmp_path, monkeypatch):
    pictures = [picture(f"{i}.png", i) for i in range(3)]
    saliency, calls = explain.methods()["saliency"].function, []

    def interrupted(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return saliency(*arguments, **more)

    interrupted.__wrapped__ = saliency
    row = explain.methods()["saliency"]
    monkeypatch.setattr(
        "convlens.explain.methods", lambda: {"saliency": type(row)(**{**row.__dict__, "function": interrupted})}
    )
    for out in ("w.html", "w.png"):
        calls.clear()
        code, text, err = explained(*pictures, "--batch", 1, "--out", tmp_path / out)
        assert (code, err) == (130, "convlens: interrupted\n")
        assert text.endswith(f"wrote {tmp_path / out}\n")
    page = (tmp_path / "w.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", page) == ["0.png", "1.png"]
    assert "Interrupted: images after these are missing." in page


def test_a_place_of_a_map_is_explained(explained, tmp_path):
    net = nn.Sequential(nn.Conv2d(out_channels=3, kernel_size=3), nn.ReLU(), input_shape=(1, 12, 10), seed=0)
    net.save(tmp_path / "maps.npz")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(1, 1, 12, 10)).astype(np.float32))
    code, text, err = explained("{dir}/x.npy", "--target", "2,5,4", "--out", "{dir}/w.png", net=tmp_path / "maps.npz")
    assert (code, err) == (0, "")
    assert "explained: place (2, 5, 4), logits " in text
    assert explained("{dir}/x.npy", "--target", "2,5", "--out", "{dir}/w.png", net=tmp_path / "maps.npz")[2] == (
        "convlens: error: `target` (=(2, 5)) is no place in 'logits', whose shape is (N, 3, 10, 8)\n"
    )


def test_recipe_by_numbers_is_the_recipe_by_name(explained, picture, tmp_path):
    net = nn.Sequential(
        *(nn.Conv2d(out_channels=2, kernel_size=3), nn.ReLU(), nn.Flatten(), nn.Linear(out_features=3)),
        input_shape=(3, 32, 32),
    )
    net.save(tmp_path / "rgb.npz")
    code, plain, _ = explained(picture(), "--out", "{dir}/w.png", net=tmp_path / "rgb.npz")
    assert code == 0
    assert "note: pixels were scaled to 0 ... 1: networks trained on photographs mostly need a --recipe" in plain
    code, named, _ = explained(
        *(picture(), "--out", "{dir}/w.png", "--recipe", "imagenet", "--size", "32"), net=tmp_path / "rgb.npz"
    )
    assert code == 0
    by_numbers = ["--size", "32x32", "--resize", "37", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    code, given, _ = explained(picture(), "--out", "{dir}/w.png", *by_numbers, net=tmp_path / "rgb.npz")
    assert code == 0
    assert named == given != plain
    assert "input: shorter side to 37 (bilinear), 32 x 32 from the centre, RGB, (pixel / 255 - (0.485" in given


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{dir}/absent.npy"], "absent.npy: No such file or directory"),
        (["{dir}/x.npy", "--method", "magic"], "--method (='magic') must be one of"),
        (["{dir}/x.npy", "--target", "4"], "target"),
        (["{dir}/x.npy", "--target", "cat"], "--target (='cat') is a name: give the names by --labels FILE"),
        (["{dir}/x.npy", "--labels", "{dir}/x.json"], "--labels has 2 names, the network has 4 classes"),
        (["{dir}/x.npy", "--option", "wndow=3"], "--option wndow is no argument of saliency"),
        (["{dir}/x.npy", "--layer", "relu1"], "--layer is no argument of saliency"),
        (["{dir}/x.npy", "--method", "grad_cam", "--layer", "rleu1"], "relu1"),
        (["{dir}/x.npy", "--out", "why.gif"], "--out (='why.gif') must end in .png"),
        (["{dir}/x.npy", "--out", "{dir}/none/why.png"], "is in a folder that does not exist"),
        (["{dir}/x.npy", "--batch", "0"], "--batch (=0) must be at least 1"),
        (["{dir}/x.npy", "--recipe", "magic"], "--recipe (='magic') must be one of imagenet"),
        (
            ["{dir}/x.npy", "--recipe", "imagenet"],
            "the recipe makes images of (3, 224, 224), the network takes (1, 12, 10)",
        ),
        (["{dir}/x.npy", "--std", "0"], "`std` (=(0.0,)) must not be 0"),
        (["{dir}/wrong.npy"], "12, 10"),
        (["{dir}/empty.npy"], "no image"),
        (["{dir}/nan.npy"], "NaN or infinite"),
        (["{dir}/cut.npy"], "cut.npy is no whole .npy array"),
        (["{dir}/object.npy"], "object.npy is no whole .npy array of numbers"),
        (["{dir}/x.npy", "--out", "{dir}/folder.png"], "is a folder"),
        (["{dir}/x.npy", "--scale", "0"], "`scale` (=0.0) must not be 0"),
        (["{dir}/x.npy", "--option", "target=1"], "--option target is no argument of saliency"),
        (["{dir}/x.npy", "--labels", "{dir}/empty.txt"], "empty.txt') holds no names"),
        (["{dir}/x.npy", "--labels", "{dir}/latin.txt"], "latin.txt') must be UTF-8"),
    ],
)
def test_error_is_one_line_and_exit_code_1(explained, tmp_path, arguments, text):
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 12, 10), np.float32))
    np.save(tmp_path / "wrong.npy", np.zeros((1, 1, 10, 12), np.float32))
    np.save(tmp_path / "empty.npy", np.zeros((0, 1, 12, 10), np.float32))
    np.save(tmp_path / "nan.npy", np.full((1, 1, 12, 10), np.nan, np.float32))
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object))
    (tmp_path / "cut.npy").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "x.json").write_text('["a", "b"]')
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("é\nb\nc\nd".encode("latin-1"))
    out = [] if "--out" in arguments else ["--out", tmp_path / "why.png"]
    code, printed, err = explained(*arguments, *out)
    assert (code, printed) == (1, "")
    assert err.startswith("convlens: error: ")
    assert err.count("\n") == 1
    assert text in err
    assert not (tmp_path / "why.png").exists()


@pytest.mark.parametrize("option", [("--size", "3by4"), ("--mean", "a,b"), ("--option", "7"), ("--filter", "best")])
def test_wrong_usage_is_exit_code_2(explained, capsys, option):
    with pytest.raises(SystemExit) as ended:
        explained("x.npy", *option)
    assert ended.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_labels_are_read_as_lists_lines_and_imagenets_index(tmp_path):
    (tmp_path / "a.txt").write_text("\ufefftench, Tinca tinca\ngoldfish\n\n", encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"1": ["n01443537", "goldfish"], "0": ["n01440764", "tench"]}))
    assert Labels.read(str(tmp_path / "a.txt")).names == ("tench, Tinca tinca", "goldfish")
    assert Labels.read(str(tmp_path / "b.json")).names == ("tench", "goldfish")
    (tmp_path / "d.txt").write_bytes("a\x0cb\r\nc\u2028d\n".encode())
    assert Labels.read(str(tmp_path / "d.txt")).names == ("a\x0cb", "c\u2028d")
    for wrong in ('{"0": "a", "2": "b"}', "3", '{"a": 1}', "{", "[]", "{}", "[[]]", "[null]", "[" * 10**5):
        (tmp_path / "c.json").write_text(wrong)
        with pytest.raises(ValueError, match="must hold a list of names, or names by number"):
            Labels.read(str(tmp_path / "c.json"))


def test_a_target_is_a_number_a_name_or_part_of_one():
    labels = Labels(["tabby, tabby cat", "tiger cat", "tiger", "dog"])
    assert [labels.target(text) for text in ("3", "-1", "DOG", "tabby cat", "tiger", "abb")] == [3, -1, 3, 0, 2, 0]
    assert labels.target(None) is None
    assert labels.target("1, 20,24") == (1, 20, 24)
    with pytest.raises(ValueError, match=r"fits 2 of --labels: 0 tabby, tabby cat, 1 tiger cat; give one"):
        labels.target("cat")
    with pytest.raises(ValueError, match="the nearest are 3 dog"):
        labels.target("dgo")


def test_nothing_that_is_read_is_written_over(explained, picture, tmp_path):
    path = picture()
    before = path.read_bytes()
    (tmp_path / "folder").mkdir()
    code, printed, err = explained(path, "--out", "{dir}/folder/../picture.png")
    assert (code, printed) == (1, "")
    assert "is the file" in err
    assert path.read_bytes() == before


def test_names_are_shown_as_they_are(explained, picture, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "labels.txt").write_text("$x^2_{$\none\ntwo\nthree\n")
    paths = [picture("a/cat.png"), picture("cat.png"), picture("$x^2_{$.png"), picture("line\nbreak.png")]
    arguments = ("--labels", "{dir}/labels.txt", "--target", "0")
    for out in ("w.png", "w.html"):
        code, printed, err = explained(*paths, *arguments, "--out", tmp_path / out)
        assert (code, err) == (0, "")
        assert [line for line in printed.splitlines() if line.endswith("cat.png")] == [str(p) for p in paths[:2]]


def test_a_picture_that_could_not_be_written_is_not_said_to_be(explained, picture, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "w.png")

    monkeypatch.setattr("convlens.plot.Picture.savefig", full)
    for out in ("w.png", "w.html"):
        code, printed, err = explained(picture(), "--out", tmp_path / out)
        assert (code, err) == (1, "convlens: error: w.png: No space left on device\n")
        assert "wrote" not in printed


def test_networks_of_signals_are_refused_before_anything_runs(explained, tmp_path):
    net = nn.Sequential(nn.Conv1d(out_channels=2, kernel_size=3), nn.Flatten(), input_shape=(2, 9))
    net.save(tmp_path / "signal.npz")
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 9), np.float32))
    code, printed, err = explained("{dir}/x.npy", "--out", "{dir}/w.png", net=tmp_path / "signal.npz")
    assert (code, printed) == (1, "")
    assert "the network takes (2, 9), which is no picture (C, H, W)" in err
