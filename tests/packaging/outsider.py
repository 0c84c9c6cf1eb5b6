"""What ``docs/bundle.md`` says, by somebody who has NumPy, Pillow and ONNX Runtime, and no Medloom.

Written from the page alone; every number comes from ``bundle.json``. As a program it answers several questions at once:
``outsider.py JOBS.json`` with a list of ``{"bundle", "image", "number", "metadata", "threads", "answer"}``: the files
of a stack in order, or one alone, and which of them is asked about; each answer an NPZ.
"""

import io
import json
import math
import os
import sys
import tarfile
import unicodedata
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from PIL import Image


def read(path):
    """Return the manifest and the files of a bundle."""
    with tarfile.open(path) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}
    return json.loads(files["bundle.json"]), files


def answer(manifest, files, stack, number, metadata, threads):
    """Return the probabilities, and what the answer says, for one of several slices, or for one image alone."""
    steps, (height, width) = manifest["steps"], decode(stack[number], manifest["steps"]["decode"])[1:3]
    offsets = steps["context"]["offsets"] if manifest["input"]["context"] else [0]
    beside = [stack[min(max(number + one, 0), len(stack) - 1)] for one in offsets]
    image = np.concatenate([prepare(manifest, *decode(one, steps["decode"])) for one in beside])
    return ask_and_finish(manifest, files, image, height, width, metadata, threads)


def golden(manifest, files, threads):
    """Return the same for the golden image, which holds the channels of all slices that are seen."""
    pixels, height, width, _ = decode(files[manifest["golden"]["input"]], manifest["steps"]["decode"])
    slices = np.split(pixels, 2 * manifest["input"]["context"] + 1, axis=2)
    image = np.concatenate([prepare(manifest, one, height, width, None) for one in slices])
    return ask_and_finish(manifest, files, image, height, width, {}, threads)


def prepare(manifest, pixels, height, width, box):
    """Steps 2 to 6: what the network sees of one slice, (C, h, w)."""
    preprocess, steps = manifest["preprocess"], manifest["steps"]
    pixels = colour(window(pixels, preprocess["window"]), preprocess["colour"], steps["colour"]["luma"])
    assert pixels.shape[2] == len(manifest["channels"])
    resized = resize(pixels, height, width, box, preprocess)
    offset, scale = normalisation(resized, preprocess["normalise"], steps["normalise"])
    image = (resized.astype(np.float32) - offset[:, None, None]) * scale[:, None, None]
    rows, columns = (middle(*pair) for pair in zip(image.shape[1:], preprocess["crop"] or image.shape[1:], strict=True))
    return image[:, rows, columns]


def ask_and_finish(manifest, files, image, height, width, metadata, threads):
    """Steps 7 to 10."""
    steps = manifest["steps"]
    table = encode(manifest["tables"], metadata, steps["table"]) if manifest["tables"] else None
    ask = network(files["model.onnx"], threads)
    seen = [(one, ask(seen_by(one, image), table)) for one in steps["views"]]
    finish = masks if manifest["target"]["kind"] == "masks" else labels
    return finish(manifest, seen, height, width)


def decode(data, limits):
    """Step 1: pixels (H, W, C), the image's height and width, and the box of a JPEG at a fraction of its size."""
    if data.startswith(b"\x93NUMPY"):
        pixels = np.load(io.BytesIO(data))
        return np.atleast_3d(pixels), *pixels.shape[:2], None
    image = Image.open(io.BytesIO(data))
    (width, height), box = image.size, None
    if image.format == "JPEG" and limits["jpeg_at_least"] is not None:
        (rows, columns), (more, of) = limits["jpeg_at_least"], limits["jpeg_margin"]
        fits = (
            f for f in limits["jpeg_factors"] if height * of >= rows * f * more and width * of >= columns * f * more
        )
        factor = next(fits, 1)
        if factor > 1:
            image.draft(image.mode, (width // factor, height // factor))
            box = (0.0, 0.0, width / factor, height / factor)
    return np.atleast_3d(np.asarray(image)), height, width, box


def window(pixels, values):
    """Step 2."""
    if values is None or values == "auto":  # what is read here is of 8 bits, or does not say what it can hold
        return pixels
    centre, width = values
    x = pixels.astype(np.float64) - (centre - 0.5)
    return (x > 0 if width == 1 else (x / (width - 1) + 0.5).clip(0, 1)).astype(np.float32)


def colour(pixels, how, luma):
    """Step 3."""
    if how == "as-is":
        return pixels
    if pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    if how == "rgb":
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    if pixels.shape[2] == 1:
        return pixels
    red, green, blue = np.moveaxis(pixels.astype(np.float64), 2, 0)
    return stored((red * luma[0] + green * luma[1]) + blue * luma[2], pixels.dtype)[..., None]


def stored(values, dtype):
    """Round to whole numbers where the type has no others."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def place(height, width, preprocess):
    """Step 4: row, column, height and width of the image within the network's."""
    full_height, full_width = preprocess["size"]
    if preprocess["fit"] == "stretch":
        return 0, 0, full_height, full_width
    ratio = min(full_height / height, full_width / width)
    inner_height = min(full_height, max(1, round(height * ratio)))
    inner_width = min(full_width, max(1, round(width * ratio)))
    return (full_height - inner_height) // 2, (full_width - inner_width) // 2, inner_height, inner_width


def resample(plane, height, width, box=None):
    """One channel by Pillow."""
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))


def resize(pixels, height, width, box, preprocess):
    """Step 4: (C, h0, w0)."""
    dtype = pixels.dtype if pixels.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    if [height, width] == preprocess["size"] and box is None:
        return np.moveaxis(pixels, 2, 0).astype(dtype)
    top, left, rows, columns = place(height, width, preprocess)
    out = np.zeros((pixels.shape[2], *preprocess["size"]), np.float32)
    for channel, plane in enumerate(out):
        plane[top : top + rows, left : left + columns] = resample(pixels[..., channel], rows, columns, box)
    return stored(out, dtype)


def normalisation(image, how, constants):
    """Step 5: offset and scale of each channel, float32."""
    if how["method"] == "imagenet":
        full = {"u": lambda: np.iinfo(image.dtype).max, "f": lambda: 1.0}[image.dtype.kind]()
        mean, std = np.array(constants["imagenet_mean"]), np.array(constants["imagenet_std"])
        if len(image) != 3:
            mean, std = np.full(len(image), mean.mean()), np.full(len(image), std.mean())
        return (mean * full).astype(np.float32), (1 / (std * full)).astype(np.float32)
    groups = list(image) if how["per_channel"] else [image] * len(image)
    pairs = [statistics(group.ravel(), how, constants["percentile_method"]) for group in groups]
    scales = []
    for offset, spread in pairs:
        flat = spread < constants["flat_below"] * max(1.0, abs(offset))
        scales.append(0.0 if flat else 1.0 / max(spread, how["min_spread"]))
    return np.array([offset for offset, _ in pairs], np.float32), np.array(scales, np.float32)


def statistics(values, how, method):
    """Step 5: offset and spread of a group."""
    if how["method"] == "none":
        return 0.0, 1.0
    if how["nonzero"]:
        above = values[values > 0]
        values = above if above.size else values[values > values.min()]
    if not values.size:
        return 0.0, 0.0
    if how["method"] == "zscore" and values.dtype == np.uint8:
        whole = values.astype(np.int64)
        mean, squares = int(whole.sum()) / whole.size, int((whole**2).sum()) / whole.size
        return mean, math.sqrt(max(0.0, squares - mean**2))
    if how["method"] == "zscore":
        return float(values.astype(np.float64).mean()), float(values.astype(np.float64).std())
    low, high = np.percentile(values, how["percentiles"] if how["method"] == "percentile" else [0, 100], method=method)
    return float(low), float(high - low)


def middle(whole, part):
    """Step 6."""
    return slice((whole - part) // 2, (whole - part) // 2 + part)


def encode(tables, metadata, rule):
    """Step 7: (1, F) float32."""
    row = []
    for table in tables:
        for part in table["numeric"]:
            word = text(metadata.get(part["column"]), rule)
            row += [0.0, 1.0] if word.lower() in rule["blanks"] else [(float(word) - part["mean"]) / part["std"], 0.0]
        for part in table["categorical"]:
            word, known = text(metadata.get(part["column"]), rule), part["categories"]
            at = len(known) + (word.lower() not in rule["blanks"])
            alike = [index for index, name in enumerate(known) if folded(name) == folded(word)]
            at = known.index(word) if word in known else alike[0] if len(alike) == 1 else at
            row += [float(one == at) for one in range(len(known) + 2)]
    return np.array([row], np.float32)


def folded(word):
    """Return a word without differences in case and blanks."""
    return " ".join(word.split()).casefold()


def text(value, rule):
    """Return a value as a table holds it."""
    return unicodedata.normalize(rule["unicode"], "" if value is None else str(value)).strip()


def network(graph, threads):
    """Step 8: return what asks the graph about one image."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def ask(image, table):
        given = {"image": np.ascontiguousarray(image[None])}
        return session.run(None, given if table is None else {**given, "table": table})[0][0]

    return ask


def seen_by(one, image):
    """Step 8: a view of the image."""
    height, width = image.shape[1:]
    y = np.clip(np.arange(height) + one["down"], 0, height - 1)
    x = np.clip(np.arange(width) + one["right"], 0, width - 1)
    moved = image[:, y][:, :, x]
    return moved[..., ::-1] if one["mirrored"] else moved


def calibrated(manifest, p):
    """Step 9: what corrects the probabilities."""
    how = manifest["calibration"]
    if how is None:
        return p
    smallest, rest = how["smallest"]
    together = manifest["steps"]["network"]["answer"]["activation"].startswith("softmax")
    outputs = [one.astype(np.float64) for one in p]
    if "curves" in how:
        pairs = zip(how["curves"], outputs, strict=True)
        made = [np.maximum(np.interp(q, one["score"], one["probability"]), smallest) for one, q in pairs]
    else:
        logits = [np.log(np.maximum(q, smallest)) for q in outputs]
        if not together:
            logits = [z - np.log(np.maximum(1 - q, rest)) for z, q in zip(logits, outputs, strict=True)]
        z = [one * a + b for one, a, b in zip(logits, how["scale"], how["shift"], strict=True)]
        if together:
            made = [np.exp(one - np.max(z, axis=0)) for one in z]
        else:
            made = [1 / (1 + np.exp(-np.clip(one, -how["farthest"], how["farthest"]))) for one in z]
    if together:
        made = [one / sum(made[1:], made[0]) for one in made]
    return np.stack(made).astype(np.float32)


def labels(manifest, seen, height, width):
    """Step 10 for labels of the whole image."""
    total = np.float32(0)
    for _, found in seen:
        total = total + found
    p = calibrated(manifest, total / np.float32(len(seen)))
    expects = quality(manifest, lambda: sure_of_labels(manifest, [float(one) for one in p]))
    kind, names = manifest["target"]["kind"], manifest["target"]["names"]
    thresholds, digits = manifest["point"].get("thresholds"), manifest["steps"]["answer"]["digits"]
    scores = [1.0 - float(p[0]), float(p[0])] if kind == "binary" else [float(one) for one in p]
    by_name = {name: round(score, digits) for name, score in zip(names, scores, strict=True)}
    if kind == "regression":
        return {"probabilities": p}, {"values": by_name}
    if kind == "multi-label":
        decision = [name for name, score, least in zip(names, scores, thresholds, strict=True) if score >= least]
    else:
        decision = names[int(scores[1] >= thresholds[0]) if kind == "binary" else int(np.argmax(scores))]
    return {"probabilities": p}, {"probabilities": by_name, "decision": decision, **expects}


def masks(manifest, seen, height, width):
    """Step 10 for masks."""
    total, times = np.float32(0), np.float32(0)
    for one, found in seen:
        back, shown = brought_back(one, found)
        total, times = total + back, times + shown
    p = calibrated(manifest, (total / times).astype(np.float32))
    rule, point = manifest["steps"]["answer"], manifest["point"]
    kept = erase(p, point, rule)
    sure = quality(manifest, lambda: sure_of_mask(p, decided(kept, point)[0]))
    restored, kept = (restore(one, height, width, manifest["preprocess"]) for one in (p, kept))
    mask, classes = decided(kept, point)
    mask = np.where(mask, classes, 0)
    values = np.array(manifest["target"]["values"])
    largest = round(float(foreground(restored).max()), rule["digits"])
    says = {"height": height, "width": width, "area_px": int(np.count_nonzero(mask)), "probability": largest, **sure}
    return {"probabilities": restored, "mask": mask.astype(np.uint8), "written": values[mask.astype(int)]}, says


def quality(manifest, certainty):
    """Step 12: how good the answer is to be expected."""
    how = manifest["quality"]
    if how is None:
        return {}
    total = how["shift"]
    for weight, number in zip(how["weights"], certainty(), strict=True):
        total += weight * number
    expected = round(1 / (1 + math.exp(-min(max(total, -how["farthest"]), how["farthest"]))), 6)
    return {"quality": {how["measure"]: expected, "review": expected < how["review_below"]}}


def sure_of_mask(p, mask):
    """Step 12: size, empty, overlap, missed, doubt."""
    f = foreground(p).astype(np.float64)
    found, expected = int(mask.sum()), float(f.sum())
    q = f[(f > 0) & (f < 1)]
    entropy = -float((q * np.log2(q) + (1 - q) * np.log2(1 - q)).sum())
    overlap = 2 * float(f[mask].sum()) / (found + expected) if found else 0.0
    missed = float(f[~mask].max()) if found < f.size else 0.0
    size = math.log1p(found) / math.log1p(f.size)
    return size, float(found == 0), overlap, missed, math.log1p(entropy / (found + expected + 1))


def sure_of_labels(manifest, p):
    """Step 12: the numbers of each kind of label."""
    kind, thresholds = manifest["target"]["kind"], manifest["point"]["thresholds"]
    smallest, rest, farthest = 2.0**-126, 2.0**-25, 20.0

    def odds(value):
        value = float(np.float32(value))
        return float(np.log(max(value, smallest)) - np.log(max(1 - value, rest)))

    if kind == "multi-class":
        first, second = sorted(p, reverse=True)[:2]
        margin = min(math.log(max(first, smallest)) - math.log(max(second, smallest)), farthest)
        return margin, -sum(q * math.log2(q) for q in p if q > 0) / math.log2(len(p))
    apart = [min(abs(odds(q) - odds(least)), farthest) for q, least in zip(p, thresholds, strict=True)]
    if kind == "binary":
        positive = float(p[0] >= thresholds[0])
        return apart[0], positive, apart[0] * positive
    bits = [-sum(q * math.log2(q) for q in (one, 1 - one) if q > 0) for one in p]
    return min(apart), sum(bits) / len(bits)


def brought_back(one, maps):
    """Step 8: what a view says about each pixel of the image, and which pixels it shows."""
    maps = maps[..., ::-1] if one["mirrored"] else maps
    height, width = maps.shape[1:]
    back, shown = np.zeros_like(maps), np.zeros((height, width), np.float32)
    y, x = np.arange(height) + one["down"], np.arange(width) + one["right"]
    rows, columns = (y >= 0) & (y < height), (x >= 0) & (x < width)
    back[:, y[rows][:, None], x[columns]] = maps[:, rows][:, :, columns]
    shown[y[rows][:, None], x[columns]] = 1
    return back, shown


def foreground(p):
    """Return the probability that a pixel is anything but background."""
    return p[0] if len(p) == 1 else np.float32(1) - p[0]


def decided(p, point):
    """Step 10: where there is foreground, and of which class it would be."""
    if "thresholds" in point:
        shares = [one / np.float32(least) for one, least in zip(p[1:], point["thresholds"], strict=True)]
        return sum(shares[1:], shares[0]) >= 1, np.argmax(shares, axis=0) + 1
    classes = p[1:].argmax(axis=0) + 1 if len(p) > 1 else 1
    return foreground(p) >= np.float32(point["threshold"]), classes


def erase(p, point, rule):
    """Step 10.1."""
    least = point["min_region_px"]
    if least < 2:
        return p
    assert rule["region_connectivity"] == 8
    left = {(int(y), int(x)) for y, x in np.argwhere(decided(p, point)[0])}
    p = p.copy()
    while left:
        region, todo = [], [left.pop()]
        while todo:
            y, x = todo.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            todo += near
        if len(region) < least:
            y, x = np.array(region).T
            p[:, y, x] = np.array(rule["erased_probabilities"], np.float32)[:, None]
    return p


def restore(p, height, width, preprocess):
    """Step 10.2."""
    if [height, width] == preprocess["size"]:
        return p
    top, left, rows, columns = place(height, width, preprocess)
    inner = p[:, top : top + rows, left : left + columns]
    return np.clip(np.stack([resample(plane, height, width) for plane in inner]), 0, 1)


def main(jobs):
    """Answer every question of the list."""
    for job in jobs:
        manifest, files = read(job["bundle"])
        if job["image"] is None:
            arrays, says = golden(manifest, files, job["threads"])
        else:
            stack = [Path(one).read_bytes() for one in job["image"]]
            arrays, says = answer(manifest, files, stack, job["number"], job["metadata"], job["threads"])
        np.savez(job["answer"], says=json.dumps(says), **arrays)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
