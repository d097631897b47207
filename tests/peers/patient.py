"""The peers' side of `process/patient`: what `stg_crlm --predict` does, as a careful user of the Python packages would
write it, as a whole process from DICOM to an HTML report.

    python tests/peers/patient.py --run RUN --ct DIR --seg FILE --weights FILE --out DIR [--threads N]

RUN is a finished run of `stg_crlm` with the preset `paper`: its networks, scalers and preprocessing are read. Writes
`prediction.json` and `report.html`.
"""
import argparse, base64, io, json, os

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("run", "ct", "seg", "weights", "out"):
    ap.add_argument("--" + name, required=True)
ap.add_argument("--threads", type=int, default=2)
args = ap.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(args.threads)

import cv2, numpy as np, pydicom, torch
from safetensors import safe_open
from scipy import ndimage
from torch import nn
from torchvision.models.video import r3d_18

torch.set_num_threads(args.threads)
cv2.setNumThreads(args.threads)
NODES = ["liver parenchyma", "remnant liver", "hepatic veins", "portal veins", "tumour"]
LABELS = {"Liver": 0, "Liver Remnant": 1, "Hepatic": 2, "Portal": 3}


def images():
    """CT in HU and five masks, [slice, row, column] from feet to head; the series lies axially."""
    slices = [pydicom.dcmread(os.path.join(args.ct, f)) for f in os.listdir(args.ct)]
    slices.sort(key=lambda d: d.ImagePositionPatient[2])
    ct = np.stack([d.pixel_array.astype(np.float32) * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    place = {d.SOPInstanceUID: k for k, d in enumerate(slices)}
    seg = pydicom.dcmread(args.seg)
    assert seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    node = {s.SegmentNumber: LABELS.get(s.SegmentLabel, 4) for s in seg.SegmentSequence}
    masks = np.zeros((5, *ct.shape), bool)
    for frame, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        masks[node[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber], place[source]] |= frame > 0
    return ct, masks


def prepare(ct, masks, config):
    """The block of slices around the portal veins, in-plane resampled, windowed, equalised, masks closed."""
    depth, side = config["slices"], config["in_plane"]
    centre = ndimage.center_of_mass(masks[3] if masks[3].any() else masks[0])[0]
    first = int(np.floor(centre + 0.5)) - depth // 2
    step = [n / side for n in ct.shape[1:]]
    at = [first + np.arange(depth)] + [0.5 * (s - 1) + s * np.arange(side) for s in step]
    block = ndimage.affine_transform(ct, [1, *step], [first, at[1][0], at[2][0]], (depth, side, side), order=3, mode="constant",
                                     cval=-1024)
    low, high = config["window"]
    block = np.clip((block - low) / (high - low), 0, 1)
    clahe = cv2.createCLAHE(config["clahe"]["clip_limit"], tuple(config["clahe"]["tiles"]))
    block = np.stack([clahe.apply(np.round(s * 255).astype(np.uint8)) for s in block]).astype(np.float32) / 255
    nearest = [np.floor(a + 0.5).astype(int) for a in at]
    inside = (nearest[0] >= 0) & (nearest[0] < ct.shape[0])
    small = np.zeros((5, depth, side, side), bool)
    for i, mask in enumerate(masks):
        small[i, inside] = mask[np.ix_(nearest[0][inside], nearest[1], nearest[2])]
        if small[i].any():
            box = np.ones((3, 3, 3), bool)
            small[i] = ndimage.binary_erosion(ndimage.binary_dilation(small[i], box), box, border_value=1)
    centroids = np.full((5, 3), 0.5, np.float32)
    for i, mask in enumerate(small):
        if mask.any():
            centroids[i] = (np.array(ndimage.center_of_mass(mask)) / (np.array(mask.shape) - 1))[::-1]
    return block, small, centroids


def encode(block, masks):
    """Levels 1, 2 and 4 of the pyramid of each node, [6, 3, 8 C]."""
    backbone = r3d_18(weights=None)
    state = torch.load(args.weights, weights_only=True)
    old = backbone.stem[0]
    backbone.stem[0] = nn.Conv3d(1, 64, old.kernel_size, old.stride, old.padding, bias=False)
    state["stem.0.weight"] = state["stem.0.weight"].sum(1, keepdim=True)
    backbone.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")}, strict=False)
    net = nn.Sequential(backbone.stem, backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4).eval()
    net = net.to(memory_format=torch.channels_last_3d)
    x = torch.from_numpy(np.concatenate([block * masks, block[None]])).unsqueeze(1)
    seen = [i for i in range(6) if i == 5 or masks[i].any()]
    out = torch.zeros(6, 3, 4096)
    with torch.inference_mode():
        y = net(x[seen].contiguous(memory_format=torch.channels_last_3d)).contiguous()
        pool = nn.functional.adaptive_avg_pool3d
        whole = pool(y, 1).expand(-1, -1, 2, 2, 2).flatten(1)
        fine = nn.functional.max_pool3d(pool(y, 4), 2).flatten(1)
        out[seen] = torch.stack([whole, pool(y, 2).flatten(1), fine], 1)
    return out


def sage(p, name, x, mean, attributes):
    """SAGEConv with a mean and edge attributes, on the graph's dense mean matrix."""
    return (mean @ x) @ p[name + ".lin_l.weight"].T + p[name + ".lin_l.bias"] + x @ p[name + ".lin_r.weight"].T \
        + attributes @ p[name + ".lin_edge.weight"].T


def network(path, features, centroids):
    """Outputs of both heads of one trained network for a patient without covariates."""
    with open(path + ".json") as f:
        fitted = json.load(f)
    with safe_open(path + ".safetensors", "pt") as f:
        t = {k: f.get_tensor(k) for k in f.keys()}
    p = {k[len("network/"):]: v for k, v in t.items() if k.startswith("network/")}
    x = ((features.flatten() - t["scaler/mean"]) * t["scaler/inverse"]).view(6, 3, -1)
    x = (p["nodes.pooling"].softmax(0).view(1, 3, 1) * x).sum(1)
    clinical = torch.tensor(missing(fitted["pipeline"]), dtype=torch.float32)
    x = torch.cat([x, (p["nodes.clinical.weight"] @ clinical + p["nodes.clinical.bias"]).view(1, -1)])
    mean, attributes = torch.zeros(7, 7), torch.zeros(7, 3)
    mean[:5, 5:], mean[5:, :5] = 0.5, 0.2
    c = torch.from_numpy(centroids)
    attributes[:5] = (c + torch.tensor([1.0, 0, 0])) / 2
    attributes[5], attributes[6] = c.mean(0), torch.tensor([1.0, 0, 0])
    for layer in ("p1", "p2"):
        x = sage(p, layer, x, mean, attributes).relu()
    time = p["time.weight"]
    steps, width = time.shape
    lstm = nn.LSTM(x.shape[1] + width, p["lstm.weight_hh_l0"].shape[1], batch_first=True, bidirectional=True)
    lstm.load_state_dict({k[len("lstm."):]: v for k, v in p.items() if k.startswith("lstm.")})
    sequence = torch.cat([x.unsqueeze(1).expand(-1, steps, -1), time.expand(7, -1, -1)], 2)
    fused = torch.cat([x.mean(0), lstm(sequence)[0].mean((0, 1))])
    recurrence = p["rec.weight"] @ fused + p["rec.bias"]
    survival = p["surv.weight"] @ torch.cat([fused, recurrence]) + p["surv.bias"]
    ends = [(s["min"], s["max"]) for s in fitted["scales"]]
    return [low + float(v) * (high - low) for v, (low, high) in zip((recurrence, survival), ends)]


def missing(pipeline):
    """The fitted pipeline's row of a patient of whom nothing is known: scaled medians, then the flags."""
    ends = pipeline["scaler"]["min_max"]
    scaled = [(v - a) / (b - a) if b > a else 0.0 for v, a, b in zip(pipeline["imputer"]["median"], ends["min"], ends["max"])]
    return scaled + [1.0] * len(pipeline["flagged"])


def report(block, masks, said, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    shown = masks[4] if masks[4].any() else masks[0]
    middle, step = int(shown.sum((1, 2)).argmax()), max(len(block) // 8, 1)
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4.5))
    for a, k in zip(axes, (max(middle - step, 0), middle, min(middle + step, len(block) - 1))):
        a.imshow(block[k], cmap="gray")
        for mask, colour in zip(masks[:, k], ("tab:blue", "tab:green", "tab:orange", "tab:cyan", "tab:red")):
            if mask.any():
                a.contour(mask, [0.5], colors=[colour], linewidths=0.8)
        a.set_axis_off(), a.set_title(f"slice {k + 1} of {len(block)}")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, bbox_inches="tight")
    rows = "".join(f"<tr><td>{t}</td><td>{y:.1f}</td><td>{min(r):.1f} to {max(r):.1f}</td></tr>" for t, y, r in said)
    with open(path, "w") as f:
        f.write("<!doctype html><title>STG: prediction</title><h1>Prediction</h1><table><tr><th>Endpoint<th>Years<th>Range</tr>"
                f"{rows}</table><img src='data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}'>")


with open(os.path.join(args.run, "config.json")) as f:
    settings = json.load(f)
block, masks, centroids = prepare(*images(), settings["preprocess"])
features = encode(block, masks)
with torch.inference_mode():
    answers = [network(os.path.join(args.run, "folds", f"stg-{r}-{k}"), features, centroids)
               for r in range(settings["repeats"]) for k in range(settings["folds"])]
said = []
for name, values in zip(("recurrence", "survival"), zip(*answers)):
    said.append((name, sum(min(max(v, 0.0), 12.0) for v in values) / len(values), values))
os.makedirs(args.out, exist_ok=True)
with open(os.path.join(args.out, "prediction.json"), "w") as f:
    json.dump({"years": [y for _, y, _ in said], "centroids": centroids.tolist()}, f)
report(block, masks, said, os.path.join(args.out, "report.html"))
