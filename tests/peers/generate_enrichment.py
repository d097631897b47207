"""Parity cases of enrichment: gseapy's offline `enrich` and scipy's hypergeometric law, gseapy's `prerank`.

    python tests/peers/generate_enrichment.py OUT [--seed N] [--cases N] [--gmt FILE ...]

The format is that of generate.py; `cargo run --release --bin parity -- OUT` compares. Genes are numbers; sets and the
selection are lists of them. With --gmt, one more case of each kind takes its sets from those files.
"""
import argparse, gzip, json, os, warnings
import gseapy
import numpy as np
from safetensors.numpy import save_file
from scipy.stats import false_discovery_control, hypergeom

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("out", help="folder for the cases")
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--cases", type=int, default=6)
ap.add_argument("--gmt", nargs="*", default=[])
args = ap.parse_args()
rng = np.random.default_rng(args.seed)
os.makedirs(args.out, exist_ok=True)
warnings.simplefilter("ignore")
VERSION = f"gseapy {gseapy.__version__}"


def case(name, tensors, config, scalars=None):
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, os.path.join(args.out, name + ".safetensors"))
    with open(os.path.join(args.out, name + ".json"), "w") as f:
        json.dump({"case": name, "config": config, "tol": {}, "scalars": scalars or {}}, f)


def names(ids):
    return [f"G{i}" for i in ids]


def enrichment(label, n, sets, selected):
    """`n` measured genes; sets and selection may name genes beyond them, which were not measured."""
    gmt = {f"s{i}": names(s) for i, s in enumerate(sets)}
    table = gseapy.enrich(gene_list=names(selected), gene_sets=gmt, background=names(range(n)), outdir=None, no_plot=True)
    table = table.results.set_index("Term")
    drawn = {g for g in selected if g < n}
    out = {k: np.full(len(sets), np.nan) for k in ("p", "q", "scipy_p", "scipy_q")}
    for i, s in enumerate(sets):
        members = {g for g in s if g < n}
        hits = len(members & drawn)
        if hits:
            row = table.loc[f"s{i}"]
            out["p"][i], out["q"][i] = row["P-value"], row["Adjusted P-value"]
            out["scipy_p"][i] = hypergeom.sf(hits - 1, n, len(members), len(drawn))
    seen = ~np.isnan(out["scipy_p"])
    out["scipy_q"][seen] = false_discovery_control(out["scipy_p"][seen])
    case(f"enrichment_{label}", {f"out.{k}": v for k, v in out.items()}, dict(measured=n, sets=sets, selected=selected))


def prerank(label, metric, sets, weight, least, most, permutations=2000):
    """The ranking is given in its order, so that ties stay where they are."""
    import pandas as pd
    order = np.argsort(-metric, kind="stable")
    rnk = pd.DataFrame({"gene": names(order), "score": metric[order]})
    gmt = {f"s{i}": names(s) for i, s in enumerate(sets)}
    # Twice with other seeds: their difference is the Monte Carlo error.
    runs = [gseapy.prerank(rnk=rnk, gene_sets=gmt, ascending=None, min_size=least, max_size=most, weight=weight,
                           permutation_num=permutations, seed=s, outdir=None, no_plot=True, threads=1) for s in (1, 2)]
    res = runs[0].results
    out = {k: np.full((len(sets), 2) if k in ("nes", "pval", "fdr") else len(sets), np.nan)
           for k in ("es", "edge", "nes", "pval", "fdr")}
    edges = []
    for i in range(len(sets)):
        row = res.get(f"s{i}")
        edges.append([int(g[1:]) for g in row["lead_genes"].split(";")] if row else [])
        if row:
            out["es"][i], out["edge"][i] = row["es"], len(edges[-1])
            for k in ("nes", "pval", "fdr"):
                out[k][i] = [r.results[f"s{i}"][k] for r in runs]
    first = next(i for i in range(len(sets)) if f"s{i}" in res)
    curve = np.array(res[f"s{first}"]["RES"])
    tensors = {"in.metric": metric, "out.curve": curve} | {f"out.{k}": v for k, v in out.items()}
    case(f"prerank_{label}", tensors,
         dict(sets=sets, weight=weight, least=least, most=most, permutations=permutations, edges=edges, curve_of=first))


def random_sets(n, count, sizes):
    return [sorted(map(int, rng.choice(n, int(rng.integers(*sizes)), replace=False))) for _ in range(count)]


for i in range(args.cases):
    n = int(rng.integers(100, 3000))
    sets = random_sets(n + n // 5, int(rng.integers(20, 80)), (3, max(6, n // 12)))
    # Half of the first set, so that something is found, and others at random.
    selected = sets[0][: len(sets[0]) // 2 + 1] + list(map(int, rng.choice(n + n // 5, int(rng.integers(5, n // 8)), replace=False)))
    enrichment(i, n, sets, list(dict.fromkeys(selected)))
    n = int(rng.integers(150, 1200))
    metric = np.round(rng.normal(size=n), [12, 12, 1, 0][i % 4])  # ties, and scores of 0, where it is rounded
    sets = random_sets(n + n // 10, 25, (10, 60))
    top = np.argsort(-metric, kind="stable")
    sets += [sorted(map(int, rng.choice(top[: n // 4], 20, replace=False))), sorted(map(int, rng.choice(top[-n // 4:], 20, replace=False)))]
    prerank(i, metric, sets, [1.0, 0.0, 1.0, 2.0, 1.5, 0.5][i % 6], 8, 55)

if args.gmt:
    read = {}
    for path in args.gmt:
        with (gzip.open if path.endswith(".gz") else open)(path, "rt") as f:
            for line in f:
                cells = line.rstrip("\n").split("\t")
                read[f"{os.path.basename(path)}:{cells[0]}"] = [g.strip() for g in cells[2:] if g.strip()]
    genes = sorted({g for s in read.values() for g in s})
    place = {g: i for i, g in enumerate(genes)}
    sets = [sorted({place[g] for g in s}) for s in read.values()]
    enrichment("gmt", len(genes), sets, sets[0] + list(map(int, rng.choice(len(genes), 200, replace=False))))
    prerank("gmt", rng.normal(size=len(genes)), sets[:400], 1.0, 15, 500, 1000)
print(f"{VERSION}: cases in {args.out}")
