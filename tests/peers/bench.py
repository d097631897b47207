"""The peers' side of `cargo xtask bench`: the same work on the inputs and parameters that our side wrote.

    python tests/peers/bench.py list                          every variant of every case, as JSON
    python tests/peers/bench.py files DIR                     the files that both sides read
    python tests/peers/bench.py run CASE VARIANT --dir DIR    one variant in one process, as JSON
    python tests/peers/bench.py device CASE ... --dir DIR --device cuda
                                                              every variant of torch and PyG, as a line of JSON each

`error` is the largest difference from our result, divided by the largest value of the peer's.
"""
import argparse, gc, importlib.metadata as meta, json, os, resource, sys, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("what", choices=["list", "files", "run", "device"])
ap.add_argument("names", nargs="*")
ap.add_argument("--dir", default="target/bench")
ap.add_argument("--runs", type=int, default=5)
ap.add_argument("--seconds", type=float, default=2)
ap.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
ap.add_argument("--precision", default="f32", choices=["f32", "tf32", "bf16"])
ap.add_argument("--threads", type=int, default=2)
args = ap.parse_args()
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(args.threads)

CASES = {}


def peer(case, variant, package):
    """Registers a function that takes the tensors of a case and gives (work, check); `check` maps the work's value to
    pairs (ours, theirs)."""
    def put(f):
        CASES.setdefault(case, {})[variant] = (f, package)
        return f
    return put


def torch_():
    import torch
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision != "f32"
    torch.backends.cudnn.benchmark = args.device != "cpu"
    return torch


def wait():
    """Until the GPU has done what it was given."""
    if args.device != "cpu":
        import torch
        torch.cuda.synchronize()


def same(name, value=lambda v: v):
    return lambda t, got: [(t["out." + name], value(got))]


def load(module, tensors):
    """The parameters by their names; ours may have some that the work does not use."""
    state = {k[len("param."):]: v for k, v in tensors.items() if k.startswith("param.")}
    missing = [k for k in module.load_state_dict(state, strict=False).missing_keys if "num_batches" not in k]
    assert not missing, missing
    return module


# ---------------------------------------------------------------------------------------------------------- encoders
def encoder(name):
    import torch
    from torch import nn
    if name == "monai_resnet18":
        from monai.networks.nets.resnet import ResNet, ResNetBlock
        return ResNet(ResNetBlock, [2, 2, 2, 2], [64, 128, 256, 512], spatial_dims=3, n_input_channels=1, num_classes=2,
                      conv1_t_stride=1)
    from torchvision.models import video
    m = getattr(video, name)(weights=None)
    old = m.stem[0]
    m.stem[0] = nn.Conv3d(1, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False)
    return m


def encoder_cases(case, name):
    def model(t):
        return load(encoder(name), t).eval()

    @peer(case, "torch", "torch")
    def eager(t):
        torch = torch_(); m = model(t)
        return torch.inference_mode()(lambda: m(t["in.x"])), same("y")

    @peer(case, "torch channels-last", "torch")
    def last(t):
        torch = torch_(); m = model(t).to(memory_format=torch.channels_last_3d)
        x = t["in.x"].to(memory_format=torch.channels_last_3d)
        return torch.inference_mode()(lambda: m(x)), same("y")

    @peer(case, "torch.compile", "torch")
    def compiled(t):
        torch = torch_()
        import torch._inductor.config as config
        config.freezing = True
        m = torch.compile(model(t))
        return torch.inference_mode()(lambda: m(t["in.x"])), same("y")

    def onnx(t):
        torch = torch_(); path = os.path.join(args.dir, case.replace("/", "_") + ".onnx")
        if not os.path.exists(path):
            torch.onnx.export(model(t), (t["in.x"],), path, input_names=["x"], output_names=["y"], dynamo=False,
                              opset_version=17)
        return path

    @peer(case, "ONNX Runtime", "onnxruntime")
    def ort(t):
        import onnxruntime, torch
        o = onnxruntime.SessionOptions(); o.intra_op_num_threads = args.threads
        s = onnxruntime.InferenceSession(onnx(t), o, providers=["CPUExecutionProvider"]); x = t["in.x"].numpy()
        return lambda: s.run(None, {"x": x})[0], same("y", torch.from_numpy)

    @peer(case, "OpenVINO", "openvino")
    def vino(t):
        import openvino, torch
        core = openvino.Core()
        c = core.compile_model(core.read_model(onnx(t)), "CPU",
                               {"INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": "f32"})
        r = c.create_infer_request(); x = t["in.x"].numpy()
        return lambda: r.infer({0: x})[0], same("y", lambda y: torch.from_numpy(y.copy()))


for c, n in (("encoder/r3d_18", "r3d_18"), ("encoder/r3d_18_batch_6", "r3d_18"), ("encoder/r3d_18_batch_8", "r3d_18"), ("encoder/r2plus1d_18", "r2plus1d_18"),
             ("encoder/monai_resnet18", "monai_resnet18")):
    encoder_cases(c, n)


def steps(module, forward, t):
    """A training step with AdamW; the loss before any step is compared."""
    torch = torch_()
    module.train()
    first = forward().detach()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad(set_to_none=True)
        forward().backward()
        optimizer.step()
    return step, same("loss", lambda _: first)


def training(case, variant, last):
    @peer(case, variant, "torch")
    def go(t):
        torch = torch_()
        from torch import nn
        m = encoder("r3d_18"); m.fc = nn.Linear(512, 2); load(m, t); x = t["in.x"]
        if last:
            m, x = m.to(memory_format=torch.channels_last_3d), x.to(memory_format=torch.channels_last_3d)
        return steps(m, lambda: m(x).pow(2).mean(), t)


training("encoder/r3d_18_training", "torch", False)
training("encoder/r3d_18_training", "torch channels-last", True)


# ------------------------------------------------------------------------------------------------------------ graphs
def conv(case, t):
    from torch import nn
    from torch_geometric import nn as g
    kind, f = case.split("/")[1], t["in.x"].size(1)
    edge = 16 if "edges" in kind else None
    if kind.startswith("sage"): m = g.SAGEConv(f, f)
    elif kind.startswith("gcn"): m = g.GCNConv(f, f, cached=True)
    elif kind.startswith("gatv2"): m = g.GATv2Conv(f, f // 8, 8, edge_dim=edge)
    elif kind.startswith("gat"): m = g.GATConv(f, f // 8, 8, edge_dim=edge)
    else:
        m = g.NNConv(f, f, nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, f * f)), aggr="mean")
    return load(m, t)


def graph_case(case, variant):
    @peer(case, variant, "torch_geometric")
    def go(t):
        torch = torch_()
        m = conv(case, t); x = t["in.x"]; n = x.size(0)
        e = torch.stack([t["in.sources"], t["in.targets"]])
        if variant == "PyG CSR":
            from torch_geometric.utils import to_torch_csr_tensor
            e = to_torch_csr_tensor(e.flip(0), size=(n, n))
        elif variant == "PyG EdgeIndex":
            from torch_geometric import EdgeIndex
            e = EdgeIndex(e, sparse_size=(n, n)).sort_by("col")[0].fill_cache_()
        given = (x, e) if "in.edge_attr" not in t else (x, e, t["in.edge_attr"])
        if "out.y" in t:
            return torch.no_grad()(lambda: m(*given)), same("y")

        def both():
            v = x.detach().requires_grad_(True)
            m.zero_grad(set_to_none=True)
            m(v, *given[1:]).pow(2).mean().backward()
            return v.grad
        return both, same("grad_x")


for kind in ("sage_forward_1e5", "sage_forward", "sage_1e5", "sage", "sage_256", "gcn_forward", "gcn", "gcn_256"):
    for variant in ("PyG CSR", "PyG EdgeIndex", "PyG"):
        graph_case("graph/" + kind, variant)
for kind in ("sage_forward_1e7", "sage_1e7", "sage_1e7_256", "gcn_forward_1e7", "gcn_1e7", "gcn_1e7_256"):
    graph_case("graph/" + kind, "PyG CSR")
for kind in ("gat_1e5", "gat", "gat_256", "gat_1e7", "gat_1e7_256", "gat_edges", "gatv2", "gatv2_256", "gatv2_1e7", "gatv2_1e7_256",
             "gatv2_edges", "nnconv_16", "nnconv_64", "nnconv_64_1e6", "nnconv_256_1e6", "nnconv_64_1e7", "nnconv_256_1e7"):
    graph_case("graph/" + kind, "PyG")


# ------------------------------------------------------------------------------------------------------------ models
def patients(torch, count):
    e = torch.tensor([p for a in range(5) for c in (5, 6) for p in ((a, c), (c, a))]).t()
    return (e.unsqueeze(1) + (torch.arange(count) * 7).view(1, -1, 1)).reshape(2, -1)


def stg(case, variant):
    @peer(case, variant, "torch_geometric")
    def go(t):
        torch = torch_()
        from torch import nn
        from torch_geometric.nn import SAGEConv, global_mean_pool
        from torch_geometric.utils import scatter
        full, T, h, x = "full" in case, 12, 256, t["in.x"]
        n, ei = x.size(0), patients(torch, x.size(0) // 7)
        owner = torch.arange(n) // 7
        m = nn.Module()
        m.time = nn.Embedding(T, 12)
        m.s1, m.s2, m.s3 = SAGEConv(4096 + 12, h), SAGEConv(h, h), SAGEConv(h, h)
        if full:
            m.u1, m.u2, wide = SAGEConv(h, h), SAGEConv(h, h), h
        else:
            m.p1, m.p2, m.lstm = SAGEConv(4096, h), SAGEConv(h, h), nn.LSTM(h, 128, batch_first=True, bidirectional=True)
            wide = h + 256
        m.rec, m.surv = nn.Linear(wide, 1), nn.Linear(wide + 1, 1)
        load(m, t)
        shift = (torch.arange(T) * n).view(1, -1, 1)
        spatial = (ei.unsqueeze(1) + shift).reshape(2, -1)
        a = torch.arange((T - 1) * n)
        chain = torch.stack([a, a + n])
        joint = torch.cat([spatial, chain, chain.flip(0)], 1)
        moment = (owner + (torch.arange(T) * (n // 7)).view(-1, 1)).flatten()

        def reconstruct():
            """[T * n, h]"""
            if variant == "PyG, step by step":
                out = []
                for s in range(T):
                    z = torch.cat([x, m.time.weight[s].expand(n, -1)], 1)
                    out.append(m.s3(m.s2(m.s1(z, ei).relu(), ei).relu(), ei))
                return torch.cat(out)
            # The part of the first layer that all steps share, once; then all steps in one call.
            e, wl, wr = m.time.weight, m.s1.lin_l.weight, m.s1.lin_r.weight
            mean = scatter(x[ei[0]], ei[1], dim=0, dim_size=n, reduce="mean")
            base = mean @ wl[:, :4096].t() + x @ wr[:, :4096].t() + m.s1.lin_l.bias
            step = e @ wl[:, 4096:].t() + e @ wr[:, 4096:].t()
            z = (base.unsqueeze(0) + step.unsqueeze(1)).relu().reshape(T * n, -1)
            return m.s3(m.s2(z, spatial).relu(), spatial)

        def forward():
            hs = reconstruct()
            if full:
                z = m.u2(m.u1(hs, joint).relu(), joint)
                fused = global_mean_pool(z, owner.repeat(T), n // 7)
            else:
                seq = global_mean_pool(hs, moment, T * n // 7)
                y, _ = m.lstm(seq.view(T, n // 7, h).transpose(0, 1))
                space = global_mean_pool(m.p2(m.p1(x, ei).relu(), ei), owner, n // 7)
                fused = torch.cat([space, y.mean(1)], 1)
            r = m.rec(fused)
            return r.pow(2).mean() + m.surv(torch.cat([fused, r], 1)).pow(2).mean()
        return steps(m, forward, t)


for c in ("model/stg_full", "model/stg_decoupled"):
    for v in ("PyG, step by step", "PyG, batched"):
        stg(c, v)


@peer("model/omics", "PyG", "torch_geometric")
def omics(t):
    torch = torch_()
    from torch import nn
    from torch_geometric.nn import GATConv
    h, heads, types = t["param.embeddings.patient.weight"].size(0), 8, ("gene", "protein", "clinical_feature")
    groups = {"genomics": types[:2], "proteomics": types[1:2], "clinical": types[2:]}
    count, sizes = t["in.patient"].size(0), {k: t["in." + k].size(1) for k in types}

    def linear(name):
        out, inputs = t[f"param.{name}.weight"].shape
        return nn.Linear(inputs, out)
    wide = t["param.inter.fusion.layers.0.linear1.weight"].size(0)
    m = nn.Module()
    m.embeddings = nn.ModuleDict({k: linear("embeddings." + k) for k in ("patient", *types)})
    m.intra, m.inter, m.heads = nn.ModuleDict(), nn.Module(), nn.ModuleDict()
    for k in groups:
        m.intra[k] = nn.ModuleDict(dict(convs=nn.ModuleList(GATConv(h, h // heads, heads) for _ in range(3)),
                                        norms=nn.ModuleList(nn.LayerNorm(h) for _ in range(3))))
    m.inter.norms = nn.ModuleDict({k: nn.BatchNorm1d(h) for k in groups})
    m.inter.attention = nn.MultiheadAttention(h, heads, batch_first=True)
    m.inter.fusion = nn.TransformerEncoder(nn.TransformerEncoderLayer(h, heads, wide, 0.0, batch_first=True), 3)
    m.heads["norm"] = nn.LayerNorm(h)
    tasks = ("survival", "response", "toxicity")
    for k in ("trunk", *tasks):
        m.heads[k] = linear("heads." + k)
    load(m, t)
    edges = {}
    for k, (name, members) in enumerate(groups.items()):
        n = sum(sizes[g] for g in members)
        e = torch.stack([t[f"in.sources.{k}"], t[f"in.targets.{k}"]])
        edges[name] = (e.unsqueeze(1) + (torch.arange(count) * n).view(1, -1, 1)).reshape(2, -1)

    def forward():
        patient, tokens = m.embeddings["patient"](t["in.patient"]), []
        for name, members in groups.items():
            x = [t["in." + g].unsqueeze(2) * m.embeddings[g].weight.t() + m.embeddings[g].bias for g in members]
            x = torch.cat(x, 1).reshape(-1, h)
            for c, norm in zip(m.intra[name]["convs"], m.intra[name]["norms"]):
                x = norm(c(x, edges[name]) + x).relu()
            # Of genes and proteins only the genes are pooled.
            tokens.append(m.inter.norms[name](x.view(count, -1, h)[:, :sizes[members[0]]].mean(1)))
        tokens = torch.stack(tokens, 1)
        z = m.inter.attention(patient.unsqueeze(1), tokens, tokens)[0] + patient.unsqueeze(1)
        z = m.inter.fusion(z).squeeze(1)
        x = m.heads["trunk"](m.heads["norm"](z)).relu()
        return z.pow(2).mean() + sum(m.heads[k](x).pow(2).mean() for k in tasks)
    return steps(m, forward, t)


@peer("model/glioma_image", "torch", "torch")
def glioma_image(t):
    torch = torch_()
    from torch import nn
    layers, width = [], 4
    for out in [t[f"param.features.{4 * i}.weight"].size(0) for i in range(5)]:
        layers += [nn.Conv3d(width, out, 3, padding=1), nn.BatchNorm3d(out), nn.ReLU(), nn.MaxPool3d(2)]
        width = out
    m = nn.Module()
    m.features = nn.Sequential(*layers)
    m.fc = nn.Sequential(nn.Linear(t["param.fc.0.weight"].size(1), 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 32))
    load(m, t)
    return steps(m, lambda: m.fc(m.features(t["in.x"]).flatten(1)).pow(2).mean(), t)


@peer("model/glioma_geometry", "PyG", "torch_geometric")
def glioma_geometry(t):
    torch = torch_()
    from torch import nn
    from torch_cluster import fps, radius_graph
    from torch_geometric.nn import AttentionalAggregation, NNConv
    m, width = nn.Module(), 3
    m.convs = nn.ModuleList()
    for out in (32, 64, 64, 128, 128):
        edge = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, width * out))
        m.convs.append(NNConv(width, out, edge, aggr="mean")); width = out
    m.pool = AttentionalAggregation(nn.Sequential(nn.Linear(128, 1)))
    m.fc = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 32))
    load(m, t)
    positions = t["in.positions"]; owner = torch.arange(positions.size(0)) // 1024

    def forward():
        x, at, batch, radius = positions, positions, owner, 0.2
        for c in m.convs:
            e = radius_graph(at, radius, batch, max_num_neighbors=1024)
            x = c(x, e, (at[e[0]] - at[e[1]]).norm(dim=1, keepdim=True)).relu()
            keep = fps(at, batch, ratio=0.5, random_start=False)
            x, at, batch, radius = x[keep], at[keep], batch[keep], radius * 2 ** 0.5
        return m.fc(m.pool(x, batch)).pow(2).mean()
    return steps(m, forward, t)


@peer("model/glioma_network", "PyG", "torch_geometric")
def glioma_network(t):
    torch = torch_()
    from torch import nn
    from torch_geometric.nn import GATConv, global_mean_pool
    m, width = nn.Module(), 16
    m.convs = nn.ModuleList()
    for out in (64, 128, 128, 256, 256, 256):
        m.convs.append(GATConv(width, out, edge_dim=16)); width = out
    m.fc = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 32))
    names = {f"fc.{2 * i}.{w}": f"fc.{i}.{w}" for i in range(3) for w in ("weight", "bias")}
    state = dict(t) if "param.fc.4.weight" in t else t | {"param." + a: t["param." + b] for a, b in names.items()}
    load(m, state)
    e = torch.stack([t["in.sources"], t["in.targets"]]); owner = torch.arange(1800) // 90

    def forward():
        x = t["in.x"]
        for i, c in enumerate(m.convs):
            x = c(x, e, t["in.edge_attr"])
            x = nn.functional.elu(x) if i < 5 else x
        return m.fc(global_mean_pool(x, owner, 20)).pow(2).mean()
    return steps(m, forward, t)


# ---------------------------------------------------------------------------------------------------------- survival
@peer("survival/concordance", "lifelines", "lifelines")
def lifelines(t):
    import torch
    from lifelines.utils import concordance_index
    time_, risk, event = (t["in." + k].numpy() for k in ("time", "risk", "event"))
    return lambda: concordance_index(time_, -risk, event), same("c", lambda c: torch.tensor([c]))


def cox(case, dtype):
    @peer(case, "torch, presorted", "torch")
    def go(t):
        torch = torch_()
        order = torch.argsort(-t["in.time"], stable=True)
        at, event = t["in.time"][order], t["in.event"][order].to(getattr(torch, dtype))
        risk = t["in.risk"][order].to(getattr(torch, dtype))
        last = torch.searchsorted(-at, -at, right=True) - 1
        back = torch.argsort(order)

        def work():
            eta = risk.detach().requires_grad_(True)
            (-(event * (eta - torch.logcumsumexp(eta, 0)[last])).sum() / event.sum()).backward()
            return eta.grad
        return work, same("grad", lambda g: g[back])


cox("survival/cox_f32", "float32")
cox("survival/cox_f64", "float64")


# ------------------------------------------------------------------------------------------------------------ points
@peer("points/fps_1024", "torch-cluster", "torch_cluster")
def fps(t):
    import torch_cluster
    torch_()
    return (lambda: torch_cluster.fps(t["in.points"], None, 1024 / 100_000, random_start=False)), same("chosen")


def degrees(torch, targets):
    return torch.bincount(targets, minlength=100_000).float()


@peer("points/knn_16", "torch-cluster", "torch_cluster")
def knn(t):
    torch = torch_()
    import torch_cluster
    return lambda: torch_cluster.knn_graph(t["in.points"], 16), same("degrees", lambda e: degrees(torch, e[1]))


@peer("points/knn_16", "SciPy cKDTree", "scipy")
def knn_scipy(t):
    import torch
    from scipy.spatial import cKDTree
    p = t["in.points"].numpy()
    # A point is its own nearest neighbour.
    return (lambda: cKDTree(p).query(p, 17, workers=args.threads)[1]), \
        same("degrees", lambda i: torch.full((100_000,), float(i.shape[1] - 1)))


@peer("points/radius", "torch-cluster", "torch_cluster")
def radius(t):
    torch = torch_()
    import torch_cluster
    return (lambda: torch_cluster.radius_graph(t["in.points"], 0.03, max_num_neighbors=64)), \
        same("degrees", lambda e: degrees(torch, e[1]))


# ------------------------------------------------------------------------------------------------------------ images
def path(name):
    return os.path.join(args.dir, name)


def sitk_():
    import SimpleITK
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(args.threads)
    return SimpleITK


def volume(array):
    """[k, j, i] in memory with i fastest, as ours."""
    import numpy, torch
    return torch.from_numpy(numpy.ascontiguousarray(array)).float()


def ct():
    import nibabel, numpy
    return numpy.asanyarray(nibabel.load(path("ct.nii.gz")).dataobj).astype("float32")


@peer("image/nifti_gz", "SimpleITK", "SimpleITK")
def nifti_sitk(t):
    s = sitk_()
    return lambda: s.GetArrayFromImage(s.ReadImage(path("ct.nii.gz"))), same("volume", volume)


@peer("image/nifti_gz", "nibabel", "nibabel")
def nifti_nibabel(t):
    import nibabel, numpy
    return lambda: numpy.asanyarray(nibabel.load(path("ct.nii.gz")).dataobj), same("volume", lambda v: volume(v.transpose()))


@peer("image/dicom_series", "SimpleITK", "SimpleITK")
def dicom_sitk(t):
    import torch
    s = sitk_()

    def work():
        r = s.ImageSeriesReader()
        r.SetFileNames(r.GetGDCMSeriesFileNames(path("dicom")))
        return s.GetArrayFromImage(r.Execute())
    return work, same("sum", lambda v: torch.tensor([v.astype("float64").sum()]))


@peer("image/dicom_series", "pydicom", "pydicom")
def dicom_pydicom(t):
    import numpy, pydicom, torch

    def work():
        slices = [pydicom.dcmread(os.path.join(path("dicom"), f)) for f in os.listdir(path("dicom"))]
        slices.sort(key=lambda d: d.ImagePositionPatient[2])
        return numpy.stack([d.pixel_array.astype("float32") * float(d.RescaleSlope) + float(d.RescaleIntercept)
                            for d in slices])
    return work, same("sum", lambda v: torch.tensor([v.astype("float64").sum()]))


@peer("image/resample_cubic", "SciPy", "scipy")
def resample_scipy(t):
    from scipy import ndimage
    v = ct(); size = (128, 128, 40)
    zoom = [b / a for a, b in zip(v.shape, size)]
    return lambda: ndimage.zoom(v, zoom, order=3, mode="mirror", grid_mode=True), same("volume", lambda y: volume(y.transpose()))


@peer("image/resample_cubic", "SimpleITK", "SimpleITK")
def resample_sitk(t):
    import numpy
    s = sitk_(); im = s.GetImageFromArray(numpy.ascontiguousarray(ct().transpose()))
    size = (128, 128, 40); spacing = [a / b for a, b in zip(im.GetSize(), size)]
    # Corners, not centres, of the two grids agree.
    origin = [(p - 1) / 2 for p in spacing]
    return (lambda: s.GetArrayFromImage(s.Resample(im, size, s.Transform(), s.sitkBSpline, origin, spacing,
                                                   im.GetDirection(), -1000.0))), same("volume", volume)


@peer("image/closing", "SciPy", "scipy")
def closing_scipy(t):
    import nibabel, numpy
    from scipy import ndimage
    m = numpy.asanyarray(nibabel.load(path("mask.nii.gz")).dataobj) > 0
    return lambda: ndimage.binary_closing(m, numpy.ones((3, 3, 3))), same("volume", lambda y: volume(y.transpose()))


@peer("image/closing", "SimpleITK", "SimpleITK")
def closing_sitk(t):
    s = sitk_(); m = s.ReadImage(path("mask.nii.gz"), s.sitkUInt8)
    # Without a safe border the outside is background, as in SciPy.
    return (lambda: s.BinaryMorphologicalClosing(m, (1, 1, 1), s.sitkBox, 1, False)), \
        same("volume", lambda y: volume(s.GetArrayFromImage(y)))


@peer("image/histogram_matching", "scikit-image", "skimage")
def histogram_skimage(t):
    import numpy
    from skimage import exposure
    v = ct(); r = numpy.roll((v * numpy.float32(1.3) + numpy.float32(20)).ravel(order="F"), -1000).reshape(v.shape, order="F")
    return lambda: exposure.match_histograms(v, r), same("volume", lambda y: volume(y.transpose()))


@peer("image/marching_cubes", "scikit-image", "skimage")
def surface(t):
    import nibabel, numpy, torch
    from skimage import measure
    v = numpy.asanyarray(nibabel.load(path("soft.nii.gz")).dataobj).astype("float32")
    return lambda: measure.marching_cubes(v, 0.5), \
        same("area", lambda m: torch.tensor([float(measure.mesh_surface_area(m[0], m[1]))]))


# ----------------------------------------------------------------------------------------------------------- process
@peer("process/patient", "Python script", "torch")
def patient(t):
    import subprocess, torch
    home = path("patient"); runs = os.path.join(home, "stg_crlm"); out = os.path.join(home, "peer")
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "patient.py"), "--run",
               os.path.join(runs, max(os.listdir(runs))), "--ct", path("dicom"), "--seg", path("seg.dcm"),
               "--weights", path("r3d_18.pth"), "--out", out, "--threads", str(args.threads)]

    def years(_):
        with open(os.path.join(out, "prediction.json")) as f:
            return torch.tensor(json.load(f)["years"])
    return lambda: subprocess.run(command, check=True), same("years", years)


def segmentation(slices, shape):
    """A DICOM SEG of liver, remnant, vessels and a tumour on the series."""
    import numpy as np, highdicom as hd
    from pydicom.sr.codedict import codes
    k, j, i = np.ogrid[:shape[2], :shape[1], :shape[0]]

    def ball(c, r):
        return ((i - c[0]) / r[0]) ** 2 + ((j - c[1]) / r[1]) ** 2 + ((k - c[2]) / r[2]) ** 2 < 1
    liver = ball((190, 230, 50), (110, 100, 35))
    parts = {"Liver": liver, "Liver Remnant": liver & (i < 210), "Hepatic": ball((200, 210, 55), (60, 6, 20)),
             "Portal": ball((190, 250, 45), (70, 8, 6)), "Tumor_1": ball((235, 220, 48), (22, 20, 7))}
    algorithm = hd.AlgorithmIdentificationSequence("generated", codes.DCM.ArtificialIntelligence, "1")
    segments = [hd.seg.SegmentDescription(n, name, codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                                          algorithm) for n, name in enumerate(parts, 1)]
    hd.seg.Segmentation(slices, np.stack(list(parts.values()), -1).astype(np.uint8), hd.seg.SegmentationTypeValues.BINARY, segments,
                        hd.UID(), 2, hd.UID(), 1, "oncograph", "bench", "1", "0").save_as(path("seg.dcm"))


def files():
    """A volume like an abdominal CT with its DICOM series and segmentation, a mask and a smoothed mask, and weights."""
    import nibabel, numpy as np, pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
    from scipy import ndimage
    os.makedirs(path("dicom"), exist_ok=True)
    rng = np.random.default_rng(0)
    x, y, z = (np.linspace(-1, 1, k, dtype=np.float32).reshape(s) for k, s in
               ((512, (-1, 1, 1)), (512, (1, -1, 1)), (96, (1, 1, -1))))
    v = np.where((x / 0.8) ** 2 + (y / 0.65) ** 2 + 0 * z < 1, 40.0, -1000.0).astype(np.float32)
    for _ in range(12):
        c, w = rng.uniform(-0.5, 0.5, 3), rng.uniform(0.05, 0.25, 3)
        v += rng.uniform(-300, 400) * np.exp(-((x - c[0]) / w[0]) ** 2 - ((y - c[1]) / w[1]) ** 2 - ((z - c[2]) / (3 * w[2])) ** 2)
    v += ndimage.gaussian_filter(rng.normal(size=v.shape).astype(np.float32), (0.7, 0.7, 0)) * 40
    v = np.clip(v, -1024, 3000).astype(np.int16)

    def nifti(name, data, spacing):
        nibabel.save(nibabel.Nifti1Image(data, np.diag([*spacing, 1])), path(name))
    nifti("ct.nii.gz", v, (0.8, 0.8, 2.5))
    mask = ndimage.gaussian_filter(rng.normal(size=(256, 256, 96)).astype(np.float32), 4) > 0.01
    nifti("mask.nii.gz", mask.astype(np.uint8), (1, 1, 1))
    nifti("soft.nii.gz", ndimage.gaussian_filter(mask.astype(np.float32), 1.5), (1, 1, 1))
    slices, series, study, frame = [], generate_uid(), generate_uid(), generate_uid()
    for k in range(v.shape[2]):
        m = FileMetaDataset()
        m.MediaStorageSOPClassUID, m.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        m.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset(None, {}, file_meta=m, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, m.MediaStorageSOPInstanceUID
        d.SeriesInstanceUID, d.StudyInstanceUID, d.FrameOfReferenceUID = series, study, frame
        d.Modality, d.PatientID, d.InstanceNumber = "CT", "X", k + 1
        d.PatientName, d.PatientBirthDate, d.PatientSex, d.StudyDate, d.StudyTime = "X", "", "", "", ""
        d.StudyID, d.AccessionNumber, d.ReferringPhysicianName = "", "", ""
        d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 2.5 * k], [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness = [0.8, 0.8], 2.5
        d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = 512, 512, 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.RescaleSlope, d.RescaleIntercept = 1, 0
        d.PixelData = np.ascontiguousarray(v[:, :, k].T).tobytes()
        d.save_as(os.path.join(path("dicom"), f"{k:04d}.dcm"), enforce_file_format=True)
        slices.append(d)
    segmentation(slices, v.shape)
    import torch
    from torchvision.models.video import r3d_18
    torch.manual_seed(0)
    torch.save(r3d_18(weights=None).state_dict(), path("r3d_18.pth"))


def read(name):
    """The tensors of a file in the format of safetensors, where they are worked on."""
    import torch
    try:
        from safetensors.torch import load_file
        return load_file(path(name), device=args.device)
    except ImportError:
        with open(path(name), "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
            data = bytearray(f.read())
    types = dict(F32=torch.float32, F64=torch.float64, I64=torch.int64, U32=torch.uint32)

    def one(about):
        (a, b), kind = about["data_offsets"], types[about["dtype"]]
        flat = torch.frombuffer(memoryview(data)[a:b], dtype=kind) if b > a else torch.empty(0, dtype=kind)
        return flat.reshape(about["shape"]).to(args.device)
    return {k: one(v) for k, v in header.items() if k != "__metadata__"}


def place():
    import contextlib
    if args.device == "cpu":
        return contextlib.nullcontext()
    import torch
    return torch.device(args.device)


def products():
    """In bf16 activations are, too: torch casts them."""
    import contextlib
    if args.precision != "bf16":
        return contextlib.nullcontext()
    import torch
    return torch.autocast(args.device, torch.bfloat16)


def run(case, variant):
    make, package = CASES[case][variant]
    tensors = read(case.replace("/", "_") + ".safetensors")
    # Whatever a case makes is where its tensors are; not around the work, which it would slow.
    with place():
        work, check = make(tensors)
    with products():
        got = work()
    wait()
    gc.collect()
    wall, cpu, begun = [], [], time.perf_counter()
    while len(wall) < max(args.runs, 3) or (time.perf_counter() - begun < args.seconds and len(wall) < 200):
        a, c = time.perf_counter(), time.process_time()
        with products():
            got = work()
        wait()
        wall.append(time.perf_counter() - a)
        cpu.append(time.process_time() - c)
    # A process that only starts others answers for them.
    who = resource.RUSAGE_CHILDREN if case.startswith("process/") else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss / 1024
    errors = []
    for ours, theirs in check(tensors, got):
        ours, theirs = ours.detach().double().flatten(), theirs.detach().double().flatten()
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        errors.append(float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-300)))
    version = f"{package.replace('_', '-')} {meta.version('scikit-image' if package == 'skimage' else package)}"
    answer = dict(wall=wall, cpu=cpu, peak_mb=peak, error=max(errors), version=version)
    if args.device != "cpu":
        import torch
        answer["device_mb"] = torch.cuda.max_memory_reserved() / 2 ** 20
    return answer


def device(cases):
    """One process for all, since starting it takes longer than the work; each line is there as soon as it is known."""
    import torch
    for case in cases:
        for variant, (_, package) in CASES.get(case, {}).items():
            if package not in ("torch", "torch_geometric") or variant == "torch.compile":
                continue
            if args.device != "cpu":
                torch.cuda.empty_cache(); torch.cuda.reset_peak_memory_stats()
            try:
                answer = run(case, variant)
            except Exception as error:
                answer = dict(failed=(str(error).strip() or repr(error)).splitlines()[0])
            print(json.dumps(dict(case=case, variant=variant, **answer)), flush=True)
            gc.collect()


if args.what == "list":
    print(json.dumps({c: list(v) for c, v in CASES.items()}))
elif args.what == "files":
    args.dir = args.names[0]
    files()
elif args.what == "device":
    device(args.names)
else:
    print(json.dumps(run(*args.names)))
