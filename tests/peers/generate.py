"""Parity cases with other seeds, shapes and options than the public ones, from PyTorch and PyTorch Geometric.

    python tests/peers/generate.py OUT [--seed N]

The format is that of the public folder: NAME.safetensors (in., param., out., cot., grad., after.) and NAME.json
(config, tol: the peer's own difference between float32 and float64).
"""
import argparse, copy, json, os, random
import torch
from safetensors.torch import save_file
from torch import nn

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("out", help="folder for the cases")
ap.add_argument("--seed", type=int, default=1)
args = ap.parse_args()
rng = random.Random(args.seed)
torch.manual_seed(args.seed)
os.makedirs(args.out, exist_ok=True)


def run(module, inputs, call, names, double):
    """Outputs, gradients and buffers of one precision."""
    dtype = torch.float64 if double else torch.float32
    module = copy.deepcopy(module).to(dtype)
    cast = lambda t: t.to(dtype).clone() if t.is_floating_point() else t.clone()
    given = {k: cast(v) for k, v in inputs.items()}
    for v in given.values():
        if v.is_floating_point():
            v.requires_grad_(True)
    out = call(module, given)
    out = dict(zip(names, out if isinstance(out, tuple) else (out,)))
    return module, given, out


def case(name, module, inputs, config, call, names=("y",), buffers=False):
    """Writes one case; `call(module, inputs)` gives the outputs of `names`."""
    before = {k: v.clone() for k, v in module.state_dict().items()}
    tensors, tol = {}, {}
    cot = None
    results = []
    for double in (False, True):
        m, given, out = run(module, inputs, call, names, double)
        if cot is None:
            cot = {k: torch.randn_like(v) for k, v in out.items()}
        loss = sum((v * cot[k].to(v.dtype)).sum() for k, v in out.items())
        loss.backward()
        got = {f"out.{k}": v.detach() for k, v in out.items()}
        got |= {f"grad.in.{k}": v.grad for k, v in given.items() if v.grad is not None}
        got |= {f"grad.param.{k}": v.grad for k, v in m.named_parameters() if v.grad is not None}
        if buffers:
            got |= {f"after.{k}": v for k, v in m.state_dict().items() if "running" in k or "num_batches" in k}
        results.append(got)
    single, double = results
    tensors |= {f"in.{k}": v for k, v in inputs.items()}
    tensors |= {f"param.{k}": v for k, v in before.items()}
    tensors |= {f"cot.{k}": v for k, v in cot.items()}
    tensors |= single
    for k, v in single.items():
        tol[k] = float((v.double() - double[k].double()).abs().max()) if v.numel() else 0.0
    tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, os.path.join(args.out, name + ".safetensors"))
    with open(os.path.join(args.out, name + ".json"), "w") as f:
        json.dump({"case": name, "config": config, "tol": tol, "scalars": {}}, f)


pick = rng.choice


def conv3d(i):
    groups = pick([1, 1, 2, 3])
    cin, cout = groups * rng.randint(1, 3), groups * rng.randint(1, 3)
    k = [pick([1, 2, 3]) for _ in range(3)]
    config = dict(cin=cin, cout=cout, kernel_size=k, stride=[pick([1, 2]) for _ in range(3)],
                  dilation=[pick([1, 2]) for _ in range(3)], groups=groups, bias=pick([True, False]),
                  padding_mode=pick(["zeros", "replicate", "circular", "reflect"]),
                  padding=[pick([0, 1]) for _ in range(3)])
    kw = {k: v for k, v in config.items() if k not in ("cin", "cout")}
    case(f"conv3d_{i}", nn.Conv3d(cin, cout, **kw), {"x": torch.randn(2, cin, 7, 6, 8)}, config,
         lambda m, x: m(x["x"]))


def conv_transpose3d(i):
    groups = pick([1, 2])
    cin, cout, s = groups * rng.randint(1, 3), groups * rng.randint(1, 3), pick([1, 2, 3])
    config = dict(cin=cin, cout=cout, kernel_size=pick([2, 3]), stride=s, padding=pick([0, 1]),
                  output_padding=rng.randint(0, s - 1), groups=groups, bias=pick([True, False]))
    kw = {k: v for k, v in config.items() if k not in ("cin", "cout")}
    case(f"conv_transpose3d_{i}", nn.ConvTranspose3d(cin, cout, **kw), {"x": torch.randn(2, cin, 4, 3, 5)}, config,
         lambda m, x: m(x["x"]))


def pools(i):
    k = pick([2, 3])
    config = dict(k=k, s=pick([1, 2, 3]), p=pick([0, 1]), ceil_mode=pick([True, False]))
    x = {"x": torch.randn(2, 3, 7, 6, 9)}
    case(f"max_pool3d_{i}", nn.MaxPool3d(k, config["s"], config["p"], ceil_mode=config["ceil_mode"]), x, config,
         lambda m, x: m(x["x"]))
    config = config | dict(count_include_pad=pick([True, False]))
    pool = nn.AvgPool3d(k, config["s"], config["p"], config["ceil_mode"], config["count_include_pad"])
    case(f"avg_pool3d_{i}", pool, x, config, lambda m, x: m(x["x"]))
    size = [rng.randint(1, 5) for _ in range(3)]
    case(f"adaptive_avg_pool3d_{i}", nn.AdaptiveAvgPool3d(size), x, dict(output_size=size), lambda m, x: m(x["x"]))


def batchnorm(i):
    train, momentum = pick([True, False]), pick([0.1, 0.4, None])
    m = nn.BatchNorm3d(4, momentum=momentum, eps=pick([1e-5, 1e-2]))
    m.running_mean.normal_()
    m.running_var.uniform_(0.5, 2)
    nn.init.normal_(m.weight)
    nn.init.normal_(m.bias)
    m.train(train)
    config = dict(train=train, momentum=momentum, eps=m.eps)
    case(f"batchnorm3d_{i}", m, {"x": 2 * torch.randn(3, 4, 3, 2, 5) + 1}, config, lambda m, x: m(x["x"]), buffers=True)


def lstm(i):
    B, T, I, H = rng.randint(1, 4), rng.randint(1, 8), rng.randint(1, 5), rng.randint(1, 6)
    layers, bi, first, bias = rng.randint(1, 3), pick([True, False]), pick([True, False]), pick([True, True, False])
    lengths = sorted((rng.randint(1, T) for _ in range(B)), reverse=True) if pick([True, False]) else None
    if lengths:
        lengths[0] = T
    m = nn.LSTM(I, H, layers, batch_first=first, bidirectional=bi, bias=bias)
    x = torch.randn(*((B, T) if first else (T, B)), I)

    def call(m, x):
        if lengths is None:
            y, (h, c) = m(x["x"])
        else:
            packed = nn.utils.rnn.pack_padded_sequence(x["x"], lengths, batch_first=first)
            y, (h, c) = m(packed)
            y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=T)
        return y, h, c

    config = dict(B=B, T=T, I=I, H=H, lengths=lengths, batch_first=first, num_layers=layers, bidirectional=bi, bias=bias)
    case(f"lstm_{i}", m, {"x": x}, config, call, ("y", "hn", "cn"))


def edges(n_src, n_dst, count):
    e = torch.stack([torch.randint(0, n_src, (count,)), torch.randint(0, n_dst, (count,))])
    return e


def gnn(i):
    from torch_geometric import nn as g
    N, E, F, O = rng.randint(1, 20), rng.randint(0, 60), rng.randint(1, 9), rng.randint(1, 7)
    x, e = torch.randn(N, F), edges(N, N, E)
    base = dict(N=N, E=E, in_=F, out=O)
    # One normalised feature is a sign, whose gradient is rounding.
    kw = dict(aggr=pick(["mean", "max", "add"]), normalize=pick([True, False]) and O > 1, root_weight=pick([True, False]),
              project=pick([True, False]), bias=pick([True, False]))
    case(f"sage_{i}", g.SAGEConv(F, O, **kw), {"x": x, "edge_index": e}, base | kw, lambda m, x: m(x["x"], x["edge_index"]))
    kw = dict(improved=pick([True, False]), add_self_loops=pick([True, True, False]), normalize=pick([True, True, False]),
              bias=pick([True, False]))
    # A degree that is not positive has no square root in the peer: weights are positive.
    w = {"edge_weight": torch.rand(E) + 0.1} if pick([True, False]) else {}
    try:
        conv = g.GCNConv(F, O, **kw)
    except ValueError:
        kw["add_self_loops"] = False
        conv = g.GCNConv(F, O, **kw)
    case(f"gcn_{i}", conv, {"x": x, "edge_index": e} | w, base | kw | dict(edge_weight=bool(w)),
         lambda m, x: m(x["x"], x["edge_index"], x.get("edge_weight")))
    D, H = rng.randint(1, 4), rng.randint(1, 3)
    for kind, cls in (("gat", g.GATConv), ("gatv2", g.GATv2Conv)):
        kw = dict(heads=H, concat=pick([True, False]), negative_slope=pick([0.2, 0.05]), add_self_loops=pick([True, False]),
                  bias=pick([True, False]), residual=pick([True, False]))
        a = {}
        if pick([True, False]):
            a = {"edge_attr": torch.randn(E, D)}
            kw |= dict(edge_dim=D, fill_value=pick(["mean", "add", "max", "min", 0.3]))
        if kind == "gatv2":
            kw["share_weights"] = pick([True, False])
        conv = cls(F, O, **kw)
        for p in conv.parameters():
            nn.init.normal_(p, std=0.5)
        case(f"{kind}_{i}", conv, {"x": x, "edge_index": e} | a,
             dict(N=N, E=E, in_=F, out_per_head=O, edge_attr=bool(a)) | kw,
             lambda m, x: m(x["x"], x["edge_index"], x.get("edge_attr")))
    K = rng.randint(1, 6)
    kw = dict(aggr=pick(["mean", "max", "add"]), root_weight=pick([True, False]), bias=pick([True, False]))
    edge = nn.Sequential(nn.Linear(D, K), nn.ReLU(), nn.Linear(K, F * O))
    case(f"nnconv_{i}", g.NNConv(F, O, edge, **kw), {"x": x, "edge_index": e, "edge_attr": torch.randn(E, D)},
         base | dict(edge_mlp=[D, K, F * O]) | kw, lambda m, x: m(x["x"], x["edge_index"], x["edge_attr"]))


def attention(i):
    B, L, S, heads = rng.randint(1, 3), rng.randint(1, 6), rng.randint(1, 6), pick([1, 2, 4])
    E, bias, masked = heads * rng.randint(1, 4), pick([True, False]), pick([True, False])
    m = nn.MultiheadAttention(E, heads, bias=bias, batch_first=True)
    x = {"q": torch.randn(B, L, E), "k": torch.randn(B, S, E), "v": torch.randn(B, S, E)}
    mask = None
    if masked:
        mask = torch.rand(B, S) < 0.4
        mask[:, 0] = False
        x["key_padding_mask"] = mask.to(torch.uint8)
    case(f"mha_{i}", m, x, dict(B=B, L=L, S=S, E=E, heads=heads, bias=bias, kpm=masked, cross=True),
         lambda m, x: m(x["q"], x["k"], x["v"], key_padding_mask=mask), ("y", "w"))
    layer = nn.TransformerEncoderLayer(E, heads, pick([5, 12]), 0.0, pick(["relu", "gelu"]), batch_first=True,
                                       norm_first=pick([True, False]))
    act = "relu" if layer.activation is torch.nn.functional.relu else "gelu"
    layer.train()
    case(f"transformer_encoder_layer_{i}", layer, {"x": torch.randn(B, L, E)},
         dict(B=B, L=L, E=E, heads=heads, ff=layer.linear1.out_features, activation=act, norm_first=layer.norm_first),
         lambda m, x: m(x["x"]))


def interpolate(i):
    mode = pick(["nearest", "trilinear"])
    size = [rng.randint(1, 9) for _ in range(3)]
    config = dict(size=size, mode=mode)
    if mode == "trilinear":
        config["align_corners"] = pick([True, False])
    case(f"interpolate_{i}", nn.Identity(), {"x": torch.randn(2, 3, 4, 6, 5)}, config,
         lambda m, x: nn.functional.interpolate(x["x"], **config))


class Call(nn.Module):
    """A function as a module, with modules of its own by name."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def segments(counts):
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def readout(i):
    from torch_geometric import nn as g
    from torch_geometric.utils import softmax
    G, F, O = rng.randint(1, 5), rng.randint(1, 6), rng.randint(1, 6)
    counts = [rng.randint(0, 5) for _ in range(G)]
    counts[rng.randrange(G)] = 3
    x = {"x": torch.randn(sum(counts), F), "batch": segments(counts)}
    pools = (g.global_mean_pool, g.global_add_pool, g.global_max_pool)
    case(f"global_pools_{i}", Call(lambda m, x: tuple(p(x["x"], x["batch"], G) for p in pools)), x,
         dict(num_graphs=G, sizes=counts), lambda m, x: m(x), ("mean", "add", "max"))
    case(f"segment_softmax_{i}", Call(lambda m, x: softmax(x["x"], x["batch"])), x, {}, lambda m, x: m(x))
    wide, inner = pick([True, False]), pick([True, False])
    gate = [F, rng.randint(1, 6), O if wide and inner else F if wide else 1]
    aggr = g.aggr.AttentionalAggregation(nn.Sequential(nn.Linear(gate[0], gate[1]), nn.ReLU(), nn.Linear(gate[1], gate[2])),
                                         nn.Sequential(nn.Linear(F, O), nn.Tanh()) if inner else None)
    case(f"attentional_aggregation_{i}", aggr, x, dict(num_graphs=G, gate=gate, nn=inner),
         lambda m, x: m(x["x"], x["batch"], dim_size=G))


TYPES = ["anat", "ct", "clin"]
TRIPLES = [("anat", "a2c", "ct"), ("ct", "c2a", "anat"), ("anat", "a2k", "clin"), ("clin", "k2a", "anat")]


def hetero(i):
    from torch_geometric import nn as g
    nodes = {t: rng.randint(1, 9) for t in TYPES}
    dims = {t: rng.randint(1, 6) for t in TYPES}
    O, hidden, aggr = rng.randint(1, 5), rng.randint(1, 6), pick(["sum", "mean", "max", "min"])
    x = {f"x_{t}": torch.randn(nodes[t], dims[t]) for t in TYPES}
    e = {f"ei__{'__'.join(t)}": edges(nodes[t[0]], nodes[t[2]], rng.randint(1, 14)) for t in TRIPLES}

    def call(m, x):
        out = m({t: x[f"x_{t}"] for t in TYPES}, {t: x[f"ei__{'__'.join(t)}"] for t in TRIPLES})
        return tuple(out[t] for t in TYPES)

    conv = g.HeteroConv({t: g.SAGEConv((dims[t[0]], dims[t[2]]), O) for t in TRIPLES}, aggr=aggr)
    case(f"heteroconv_sage_{i}", conv, x | e, dict(dims=dims, nodes=nodes, out=O, hetero_aggr=aggr,
                                                   edge_types=["__".join(t) for t in TRIPLES]), call, tuple(TYPES))

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1, self.c2 = g.SAGEConv((-1, -1), hidden), g.SAGEConv((-1, -1), O)

        def forward(self, x, edge_index):
            return self.c2(self.c1(x, edge_index).relu(), edge_index)

    aggr = pick(["sum", "mean", "max"])
    model = g.to_hetero(Two(), (TYPES, TRIPLES), aggr=aggr)
    with torch.no_grad():
        call(model, x | e)  # fixes the widths
    case(f"to_hetero_sage_{i}", model, x | e, dict(dims=dims, nodes=nodes, hidden=hidden, out=O, aggr=aggr), call, tuple(TYPES))


def sage_others(i):
    from torch_geometric import nn as g
    N, E, F, O = rng.randint(1, 12), rng.randint(0, 40), rng.randint(1, 6), rng.randint(1, 6)
    case(f"sage_lstm_{i}", g.SAGEConv(F, O, aggr="lstm"), {"x": torch.randn(N, F), "edge_index": by_target(edges(N, N, E))},
         dict(N=N, E=E, in_=F, out=O, aggr="lstm"), lambda m, x: m(x["x"], x["edge_index"]))
    S, T, A, B = rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 5), rng.randint(1, 5)
    x = {"x_src": torch.randn(S, A), "x_dst": torch.randn(T, B), "edge_index": edges(S, T, E)}
    both = lambda m, x: m((x["x_src"], x["x_dst"]), x["edge_index"])
    kw = dict(aggr=pick(["mean", "max", "add"]), normalize=pick([True, False]) and O > 1)
    case(f"sage_bipartite_{i}", g.SAGEConv((A, B), O, **kw), x, dict(in_=[A, B], out=O) | kw, both)
    heads = rng.randint(1, 3)
    for kind, cls in (("gat", g.GATConv), ("gatv2", g.GATv2Conv)):
        kw = dict(heads=heads, concat=pick([True, False]), add_self_loops=False)
        case(f"{kind}_bipartite_{i}", cls((A, B), O, **kw), x, dict(in_=[A, B], out=O) | kw, both)


def by_target(e):
    """The LSTM reads the messages of a node in the order of a list that is sorted by target."""
    return e[:, e[1].argsort(stable=True)]


def losses(i):
    N, C = rng.randint(2, 9), rng.randint(2, 6)
    x = {"logits": 3 * torch.randn(N, C), "btarget": torch.rand(N, C), "target": torch.randint(0, C, (N,)),
         "weight": torch.rand(C) + 0.2, "pos_weight": torch.rand(C) + 0.5}
    F = nn.functional

    def call(m, x):
        z, b, t, w, p = x["logits"], x["btarget"], x["target"], x["weight"].detach(), x["pos_weight"].detach()
        return (F.cross_entropy(z, t), F.cross_entropy(z, t, weight=w, label_smoothing=0.1),
                F.binary_cross_entropy_with_logits(z, b), F.binary_cross_entropy_with_logits(z, b, pos_weight=p), F.mse_loss(z, b))

    case(f"losses_basic_{i}", nn.Identity(), x, {}, call, ("ce", "ce_w", "bce", "bce_pw", "mse"))
    tau = pick([0.02, 0.07, 0.5, 1.0])
    a, b = torch.randn(N, C), torch.randn(N, C)
    cos = lambda x, y: F.normalize(x, dim=1) @ F.normalize(y, dim=1).t() / tau
    both = lambda m, x: (F.cross_entropy(cos(x["a"], x["b"]), torch.arange(N)) + F.cross_entropy(cos(x["b"], x["a"]), torch.arange(N))) / 2
    case(f"info_nce_{i}", nn.Identity(), {"a": a, "b": b}, dict(tau=tau), both, ("symmetric",))

    def pairs(m, x):
        z = torch.cat([x["z1"], x["z2"]])
        s = cos(z, z).masked_fill(torch.eye(2 * N, dtype=torch.bool), float("-inf"))
        return F.cross_entropy(s, torch.arange(2 * N).roll(N))

    case(f"nt_xent_{i}", nn.Identity(), {"z1": a, "z2": b}, dict(tau=tau), pairs)


def points(i):
    import torch_cluster
    counts = [rng.randint(1, 40) for _ in range(rng.randint(1, 3))]
    x = {"pos": torch.rand(sum(counts), 3), "batch": segments(counts)}

    def bare(name, out, config):
        from safetensors.torch import save_file as save
        save({f"in.{k}": v for k, v in x.items()} | out, os.path.join(args.out, name + ".safetensors"))
        with open(os.path.join(args.out, name + ".json"), "w") as f:
            json.dump({"case": name, "config": config, "tol": {}, "scalars": {}}, f)

    config = dict(r=pick([0.2, 0.35, 0.6]), loop=pick([True, False]), max_num_neighbors=1000,
                  flow=pick(["source_to_target", "target_to_source"]))
    e = torch_cluster.radius_graph(x["pos"], batch=x["batch"], **config)
    bare(f"radius_graph_{i}", {"out.edge_index": e.contiguous(), "out.dist": (x["pos"][e[0]] - x["pos"][e[1]]).norm(dim=1)}, config)
    config = dict(k=rng.randint(1, 6), loop=pick([True, False]))
    bare(f"knn_graph_{i}", {"out.edge_index": torch_cluster.knn_graph(x["pos"], batch=x["batch"], **config).contiguous()}, config)
    config = dict(ratio=pick([0.1, 0.25, 0.5, 0.9]), random_start=False)
    bare(f"fps_{i}", {"out.index": torch_cluster.fps(x["pos"], x["batch"], **config)}, config)


for i in range(12):
    for make in (conv3d, conv_transpose3d, pools, batchnorm, lstm, gnn, attention, interpolate, readout, hetero, sage_others,
                 losses, points):
        try:
            make(f"seed{args.seed}_{i}")
        except (ValueError, RuntimeError, ImportError) as error:
            # The peer refuses this combination (for example a padding mode wider than the volume), or is not installed.
            print(f"{make.__name__} {i}: not to be had: {str(error)[:100]}")
