"""Parity cases of statistics and images with other seeds, sizes and options than the public ones, from scipy,
scikit-learn, scikit-survival, lifelines, statsmodels, MONAI, scikit-image and SimpleITK.

    python tests/peers/generate_numpy.py OUT [--seed N]

The format is that of generate.py; these peers compute in double precision, so a case has no `tol`.
"""
import argparse, json, os, warnings
import numpy as np
from safetensors.numpy import save_file

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("out", help="folder for the cases")
ap.add_argument("--seed", type=int, default=1)
args = ap.parse_args()
rng = np.random.default_rng(args.seed)
os.makedirs(args.out, exist_ok=True)
warnings.simplefilter("ignore")


def case(name, tensors, config=None, scalars=None):
    tensors = {k: np.ascontiguousarray(v.astype(np.uint8) if np.asarray(v).dtype == bool else v) for k, v in tensors.items()}
    save_file(tensors, os.path.join(args.out, name + ".safetensors"))
    plain = lambda v: v.item() if hasattr(v, "item") and np.ndim(v) == 0 else v.tolist() if hasattr(v, "tolist") else v
    with open(os.path.join(args.out, name + ".json"), "w") as f:
        json.dump({"case": name, "config": config or {}, "tol": {}, "scalars": scalars or {}}, f, default=plain)


def subjects(n, digits):
    """Times rounded to `digits`, so with ties where they are few; risks that say something about them."""
    risk = np.round(rng.normal(size=n), digits)
    death, censoring = rng.exponential(5 * np.exp(-0.6 * risk)), rng.uniform(0, 12, n)
    time = np.round(np.minimum(death, censoring), digits) + 10.0 ** -digits
    return time, death <= censoring, risk


# ------------------------------------------------------------------------------------------------------- statistics
def cindex(i):
    from lifelines.utils import concordance_index
    from sksurv.metrics import concordance_index_censored
    time, event, risk = subjects(int(rng.integers(20, 90)), int(rng.integers(0, 4)))
    c, con, dis, tied_risk, tied_time = concordance_index_censored(event, time, risk)
    case(f"cindex_{i}", {"in.time": time, "in.event": event, "in.risk": risk}, {},
         dict(cindex=c, concordant=int(con), discordant=int(dis), tied_risk=int(tied_risk), tied_time=int(tied_time),
              lifelines_cindex=concordance_index(time, -risk, event)))


def cox(i):
    from statsmodels.duration.hazard_regression import PHReg
    n, p = int(rng.integers(25, 70)), int(rng.integers(1, 5))
    time, event, _ = subjects(n, int(rng.integers(0, 4)))
    x, beta = rng.normal(size=(n, p)), rng.normal(size=p) * rng.choice([0.3, 2.0])
    eta = x @ beta
    tensors, scalars = {"in.time": time, "in.event": event.astype(np.int64), "in.X": x, "in.beta": beta, "in.eta": eta}, {}
    for ties in ("breslow", "efron"):
        m = PHReg(time, x, event.astype(int), ties=ties)
        one = PHReg(time, np.eye(n), event.astype(int), ties=ties)
        value, fit = m.loglike(beta), m.fit()
        tensors |= {f"out.loglik.{ties}": np.array(value), f"grad.beta.{ties}": m.score(beta), f"grad.eta.{ties}": one.score(eta)}
        scalars[ties] = dict(loglik=value, mean_nll_per_event=-value / event.sum(), fitted_beta=fit.params, fitted_se=fit.bse,
                             fitted_loglik=fit.llf)
    case(f"cox_{i}", tensors, dict(n=n, p=p), scalars)


def logrank(i):
    from sksurv.compare import compare_survival
    from sksurv.util import Surv
    n, k = int(rng.integers(40, 120)), int(rng.integers(2, 5))
    time, event, _ = subjects(n, int(rng.integers(0, 3)))
    group = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    y = Surv.from_arrays(event, time)
    chi2, p = compare_survival(y, group)
    two = group < 2
    chi2_two, p_two = compare_survival(y[two], group[two])
    case(f"logrank_{i}", {"in.time": time, "in.event": event, "in.group": group}, {},
         {f"k{k}_chi2": chi2, f"k{k}_p": p, "g0_vs_g1_chi2": chi2_two, "g0_vs_g1_p": p_two})


def survival_ipcw(i):
    from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc, integrated_brier_score
    from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator, nelson_aalen_estimator
    from sksurv.util import Surv
    n, digits = int(rng.integers(60, 140)), int(rng.integers(2, 5))
    time, event, risk = subjects(n, digits)
    cut = 2 * n // 3
    train = Surv.from_arrays(event[:cut], time[:cut])
    # Within the follow-up of the training subjects, as the peer asks.
    latest = time[:cut][~event[:cut]].max() if (~event[:cut]).any() else time[:cut].max()
    keep = np.flatnonzero(time[cut:] < min(latest, time[:cut].max())) + cut
    test = Surv.from_arrays(event[keep], time[keep])
    times = np.quantile(time[keep], np.linspace(0.15, 0.8, int(rng.integers(3, 8))))
    times = np.unique(times)
    surv = np.exp(-np.outer(np.exp(0.6 * risk[keep]), times / 5))
    tau = float(np.round(np.quantile(time[keep], 0.7), 4))
    c = concordance_index_ipcw(train, test, risk[keep])
    auc, mean = cumulative_dynamic_auc(train, test, risk[keep], times)
    km_time, km, ci = kaplan_meier_estimator(event[:cut], time[:cut], conf_type="log-log")
    na_time, na = nelson_aalen_estimator(event[:cut], time[:cut])
    g = CensoringDistributionEstimator().fit(train)
    case(f"survival_ipcw_{i}", {
        "in.train_time": time[:cut], "in.train_event": event[:cut], "in.test_time": time[keep], "in.test_event": event[keep],
        "in.test_risk": risk[keep], "in.times": times, "in.test_surv": surv, "out.brier": brier_score(train, test, surv, times)[1],
        "out.auc": auc, "out.km_time": km_time, "out.km_surv": km, "out.km_ci": ci, "out.censor_km_time": g.unique_time_[1:],
        "out.censor_km": g.prob_[1:], "out.na_time": na_time, "out.na": na,
    }, dict(tau=tau), dict(ipcw_cindex=c[0], ipcw_counts=[float(v) for v in c[1:]], tau=tau,
                           ipcw_cindex_tau=concordance_index_ipcw(train, test, risk[keep], tau=tau)[0],
                           integrated_brier=integrated_brier_score(train, test, surv, times), mean_auc=mean))


def roc_auc(i):
    from sklearn import metrics as k
    n, digits, threshold = int(rng.integers(20, 90)), int(rng.integers(1, 6)), float(rng.uniform(0.3, 0.7))
    y = np.concatenate([[0, 1], rng.integers(0, 2, n - 2)])
    score = np.round(1 / (1 + np.exp(-rng.normal(size=n) - 1.2 * y + 0.6)), digits)
    weight = rng.uniform(0.2, 2, n)
    fpr, tpr, t = k.roc_curve(y, score, drop_intermediate=False)
    finite = np.where(np.isinf(t), 1e300, t)
    precision, recall, pr_t = k.precision_recall_curve(y, score)
    said = score >= threshold
    tn, fp, fn, tp = k.confusion_matrix(y, said, labels=[0, 1]).ravel()
    j = tpr - fpr
    case(f"roc_auc_{i}", {"in.y": y, "in.score": score, "in.weight": weight, "out.fpr": fpr, "out.tpr": tpr, "out.thresholds": finite,
                          "out.precision": precision, "out.recall": recall, "out.pr_thresholds": pr_t}, dict(threshold=threshold),
         dict(auc=k.roc_auc_score(y, score), auc_weighted=k.roc_auc_score(y, score, sample_weight=weight),
              average_precision=k.average_precision_score(y, score), tn=tn, fp=fp, fn=fn, tp=tp,
              sensitivity=tp / (tp + fn), specificity=tn / (tn + fp), accuracy=k.accuracy_score(y, said),
              balanced_accuracy=k.balanced_accuracy_score(y, said), youden_threshold=t[j.argmax()], youden_j=j.max()))


def multiclass_metrics(i):
    from sklearn import metrics as k
    n, classes = int(rng.integers(40, 120)), int(rng.integers(3, 6))
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(size=(n, classes)); logits[np.arange(n), y] += 1
    prob = np.exp(logits); prob /= prob.sum(1, keepdims=True)
    said = prob.argmax(1)
    case(f"multiclass_metrics_{i}", {"in.y": y, "in.prob": prob, "out.confusion": k.confusion_matrix(y, said, labels=range(classes))}, {},
         dict(auc_ovr_macro=k.roc_auc_score(y, prob, multi_class="ovr"), auc_ovo_macro=k.roc_auc_score(y, prob, multi_class="ovo"),
              auc_ovr_weighted=k.roc_auc_score(y, prob, multi_class="ovr", average="weighted"),
              auc_ovo_weighted=k.roc_auc_score(y, prob, multi_class="ovo", average="weighted"),
              f1_macro=k.f1_score(y, said, average="macro"), f1_weighted=k.f1_score(y, said, average="weighted"),
              f1_micro=k.f1_score(y, said, average="micro"), precision_macro=k.precision_score(y, said, average="macro"),
              recall_macro=k.recall_score(y, said, average="macro"), kappa=k.cohen_kappa_score(y, said),
              mcc=k.matthews_corrcoef(y, said), log_loss=k.log_loss(y, prob), balanced_accuracy=k.balanced_accuracy_score(y, said)))


def nonparametric_tests(i):
    from scipy import stats as s
    n, m, digits = int(rng.integers(10, 40)), int(rng.integers(10, 40)), int(rng.integers(0, 4))
    a, b = np.round(rng.normal(size=n) * 2, digits), np.round(rng.normal(0.5, 1.5, m) * 2, digits)
    c = np.round(0.6 * a + rng.normal(size=n), digits)
    side = rng.choice(["two-sided", "less", "greater"]).item()
    pair = lambda r: [float(r.statistic), float(r.pvalue)]
    scalars = dict(mannwhitney=pair(s.mannwhitneyu(a, b, alternative=side, method="asymptotic")),
                   welch=pair(s.ttest_ind(a, b, equal_var=False, alternative=side)),
                   wilcoxon=pair(s.wilcoxon(a, c, alternative=side)),
                   kruskal=pair(s.kruskal(a, b, c)))
    scalars |= dict(pearson=pair(s.pearsonr(a, c, alternative=side)), spearman=pair(s.spearmanr(a, c, alternative=side)),
                    kendall_b=pair(s.kendalltau(a, c, alternative=side)))
    case(f"nonparametric_tests_{i}", {"in.a": a, "in.b": b, "in.c": c}, {} if side == "two-sided" else dict(alternative=side), scalars)


def hypergeom_bh(i):
    from scipy import stats as s
    from statsmodels.stats.multitest import multipletests
    universe, k = int(rng.integers(100, 3000)), int(rng.integers(5, 40))
    drawn, alpha = int(rng.integers(10, universe // 3)), float(rng.choice([0.01, 0.05, 0.1]))
    size = rng.integers(2, universe // 2, k)
    overlap = np.minimum(rng.hypergeometric(size, universe - size, drawn) + rng.integers(0, 4, k), np.minimum(size, drawn))
    p = s.hypergeom.sf(overlap - 1, universe, size, drawn)
    fisher = [s.fisher_exact([[o, z - o], [drawn - o, universe - z - drawn + o]], "greater")[1] for o, z in zip(overlap, size)]
    adjusted = {key: multipletests(p, alpha, method) for key, method in
                (("bh_q", "fdr_bh"), ("by_q", "fdr_by"), ("holm", "holm"), ("bonferroni", "bonferroni"))}
    case(f"hypergeom_bh_{i}", {"in.overlap": overlap, "in.set_size": size, "out.p": p, "out.fisher_greater_p": np.array(fisher),
                               "out.bh_reject": adjusted["bh_q"][0]} | {"out." + key: v[1] for key, v in adjusted.items()},
         dict(universe=universe, drawn=drawn, alpha=alpha))


def blob(shape, share):
    from scipy import ndimage as nd
    field = nd.gaussian_filter(rng.normal(size=shape), 1.5)
    return field > np.quantile(field, 1 - share)


def shape():
    # On fewer than nine voxels the peer's prefilter is not exact at reflected borders, ours is.
    return tuple(int(v) for v in rng.integers(9, 15, 3))


def seg_metrics(i):
    import torch
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, MeanIoU, SurfaceDistanceMetric
    size, spacing = shape(), [float(v) for v in np.round(rng.uniform(0.5, 3, 3), 2)]
    pred = blob(size, 0.3); target = np.logical_xor(pred, blob(size, 0.1))
    p, t = (torch.from_numpy(v.astype(np.float32))[None, None] for v in (pred, target))
    run = lambda metric, **kw: float(metric(p, t, **kw).item())
    case(f"seg_metrics_{i}", {"in.pred": pred, "in.target": target}, dict(spacing=spacing),
         dict(dice=run(DiceMetric()), jaccard=run(MeanIoU()), hausdorff=run(HausdorffDistanceMetric()),
              hd95=run(HausdorffDistanceMetric(percentile=95)), assd=run(SurfaceDistanceMetric(symmetric=True)),
              asd=run(SurfaceDistanceMetric()), hausdorff_spacing=run(HausdorffDistanceMetric(), spacing=spacing),
              hd95_spacing=run(HausdorffDistanceMetric(percentile=95), spacing=spacing),
              assd_spacing=run(SurfaceDistanceMetric(symmetric=True), spacing=spacing)))


# ----------------------------------------------------------------------------------------------------------- images
MODES = ["constant", "nearest", "reflect", "mirror", "wrap", "grid-constant", "grid-wrap"]


def zoom(i):
    from scipy import ndimage as nd
    x, factor, cval = rng.normal(size=shape()).astype(np.float32), [float(v) for v in np.round(rng.uniform(0.4, 2.2, 3), 2)], 0.5
    tensors = {"in.x": x}
    # Beyond order 3 the same holds on any size.
    for order in (0, 1, 2, 3):
        for mode in rng.choice(MODES, 3, replace=False):
            for grid in (False, True):
                tensors[f"out.o{order}_{mode}_{'grid' if grid else 'corner'}"] = nd.zoom(
                    x.astype(float), factor, order=order, mode=str(mode), cval=cval, grid_mode=grid)
    tensors["out.spline_filter_o3_mirror"] = nd.spline_filter(x.astype(float), 3, mode="mirror")
    case(f"zoom_{i}", tensors, dict(zoom=factor, cval=cval))


def affine_transform(i):
    from scipy import ndimage as nd
    x, cval = rng.normal(size=shape()).astype(np.float32), float(np.round(rng.normal(), 1))
    matrix, offset = np.eye(3) + rng.normal(size=(3, 3)) * 0.2, rng.normal(size=3)
    coords = rng.uniform(-2, np.array(x.shape)[:, None] + 1, (3, 40))
    tensors = {"in.x": x, "in.matrix": matrix, "in.offset": offset, "in.coords": coords}
    for order in (0, 1, 2, 3):
        tensors[f"out.affine_o{order}"] = nd.affine_transform(x.astype(float), matrix, offset, order=order, cval=cval)
        for mode in MODES[:5]:
            tensors[f"out.map_o{order}_{mode}"] = nd.map_coordinates(x.astype(float), coords, order=order, mode=mode, cval=cval)
    case(f"affine_transform_{i}", tensors, dict(cval=cval))


def sitk_resample(i):
    import SimpleITK as sitk
    x, angle, default = rng.normal(size=shape()).astype(np.float32), rng.uniform(-0.5, 0.5), float(np.round(rng.normal(), 1))
    c, s = float(np.cos(angle)), float(np.sin(angle))
    direction = [c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0]
    spacing, origin = [float(v) for v in np.round(rng.uniform(0.5, 3, 3), 2)], [float(v) for v in np.round(rng.normal(size=3) * 20, 1)]
    new = [float(v) for v in np.round(rng.uniform(0.6, 3, 3), 2)]
    size = [int(np.ceil(n * a / b)) for n, a, b in zip(x.shape[::-1], spacing, new)]
    image = sitk.GetImageFromArray(x); image.SetSpacing(spacing); image.SetOrigin(origin); image.SetDirection(direction)
    tensors = {"in.x": x}
    for name, kind in (("nearest", sitk.sitkNearestNeighbor), ("linear", sitk.sitkLinear), ("bspline3", sitk.sitkBSpline)):
        out = sitk.Resample(image, size, sitk.Transform(), kind, origin, new, direction, default, sitk.sitkFloat64)
        tensors["out." + name] = sitk.GetArrayFromImage(out)
    tensors["out.gradient_magnitude"] = sitk.GetArrayFromImage(sitk.GradientMagnitude(image))
    case(f"sitk_resample_{i}", tensors, dict(spacing_xyz=spacing, origin_xyz=origin, direction=direction, new_spacing=new,
                                             new_size_xyz=size, default=default))


def filters(i):
    from scipy import ndimage as nd
    x, mode = rng.normal(size=shape()).astype(np.float32), rng.choice(MODES[:5]).item()
    d, sigma = x.astype(float), float(np.round(rng.uniform(0.5, 2), 1))
    tensors = {"in.x": x, "out.gaussian_s1": nd.gaussian_filter(d, sigma, mode=mode)}
    for size in (3, 5):
        tensors |= {f"out.uniform_{size}": nd.uniform_filter(d, size, mode=mode), f"out.median_{size}": nd.median_filter(d, size, mode=mode),
                    f"out.grey_opening_{size}": nd.grey_opening(d, size, mode=mode),
                    f"out.grey_closing_{size}": nd.grey_closing(d, size, mode=mode)}
    case(f"filters_{i}", tensors, dict(gaussian_sigma=sigma) | ({} if mode == "reflect" else dict(mode=mode)))


def histogram_matching(i):
    import SimpleITK as sitk
    from skimage.exposure import match_histograms
    source, reference = rng.gamma(2, 30, shape()).astype(np.float32), rng.normal(100, 40, shape()).astype(np.float32)
    u = [np.clip(v, 0, 255).astype(np.uint8) for v in (source, reference)]
    tensors = {"in.source": source, "in.reference": reference, "in.source_u8": u[0], "in.reference_u8": u[1],
               "out.skimage_float": match_histograms(source, reference), "out.skimage_u8": match_histograms(*u).astype(float)}
    for levels, points, mean in ((128, 7, True), (256, 1, True), (64, 15, False), (int(rng.integers(20, 300)), int(rng.integers(1, 20)), True)):
        out = sitk.HistogramMatching(*(sitk.GetImageFromArray(v) for v in (source, reference)), levels, points, mean)
        tensors[f"out.sitk_l{levels}_p{points}_{'mean' if mean else 'nothr'}"] = sitk.GetArrayFromImage(out)
    case(f"histogram_matching_{i}", tensors)


def clahe3d(i):
    from scipy import ndimage as nd
    from skimage import exposure as e
    size = tuple(int(v) for v in rng.integers(12, 26, 3))
    x = nd.gaussian_filter(rng.normal(size=size), 1); x = ((x - x.min()) / np.ptp(x)).astype(np.float32)
    config = dict(kernel_size=[int(rng.integers(3, s)) for s in size], clip_limit=float(np.round(rng.uniform(0.005, 0.1), 3)),
                  nbins=int(rng.choice([32, 64, 128, 256])))
    low, high = np.percentile(x, [2, 98])
    case(f"clahe3d_{i}", {"in.x": x, "out.default": e.equalize_adapthist(x).astype(np.float32),
                          "out.kernel_clip03": e.equalize_adapthist(x, **config).astype(np.float32),
                          "out.equalize_hist": e.equalize_hist(x, config["nbins"]).astype(np.float32),
                          "out.rescale_pct": e.rescale_intensity(x, in_range=(low, high)).astype(np.float32)}, config)


def morphology(i):
    from scipy import ndimage as nd
    mask, sampling = blob(shape(), rng.uniform(0.2, 0.6)), [float(v) for v in np.round(rng.uniform(0.5, 3, 3), 2)]
    tensors = {"in.mask": mask}
    for name, connectivity in (("c6", 1), ("c18", 2), ("c26", 3)):
        s = nd.generate_binary_structure(3, connectivity)
        for op in ("dilation", "erosion", "opening", "closing"):
            tensors[f"out.{op}_{name}"] = getattr(nd, "binary_" + op)(mask, s)
        if name != "c18":
            tensors[f"out.label_{name}"] = nd.label(mask, s)[0].astype(np.int32)
    tensors |= {"out.closing_c26_it2": nd.binary_closing(mask, s, 2), "out.closing_c26_border1": nd.binary_closing(mask, s, border_value=1),
                "out.erosion_c26_border1": nd.binary_erosion(mask, s, border_value=1), "out.fill_holes": nd.binary_fill_holes(mask),
                "out.edt": nd.distance_transform_edt(mask, sampling).astype(np.float32)}
    sizes = np.bincount(tensors["out.label_c26"].ravel())[1:]
    case(f"morphology_{i}", tensors, dict(edt_sampling=sampling),
         dict(n_labels_c6=int(tensors["out.label_c6"].max()), n_labels_c26=len(sizes), sizes_c26=sizes.tolist()))


def marching_cubes(i):
    from scipy import ndimage as nd
    from skimage import measure as m
    size = tuple(int(v) for v in rng.integers(12, 20, 3))
    x = np.pad(nd.gaussian_filter(rng.normal(size=size), rng.uniform(0.7, 2.5)), 1); x = ((x - x.min()) / np.ptp(x)).astype(np.float32)
    x[[0, -1]] = 0; x[:, [0, -1]] = 0; x[:, :, [0, -1]] = 0
    level, spacing = float(np.round(np.quantile(x, rng.uniform(0.55, 0.9)), 3)), [float(v) for v in np.round(rng.uniform(0.5, 3, 3), 2)]
    verts, faces, normals, _ = m.marching_cubes(x, level, spacing=tuple(spacing))
    case(f"marching_cubes_{i}", {"in.x": x, "out.verts": verts, "out.faces": faces, "out.normals": normals},
         dict(level=level, spacing=spacing),
         dict(area=m.mesh_surface_area(verts, faces), volume=float(abs(np.einsum("ij,ij->", verts[faces[:, 0]].astype(float),
              np.cross(verts[faces[:, 1]].astype(float), verts[faces[:, 2]].astype(float)))) / 6), n_verts=len(verts), n_faces=len(faces)))


for make in (cindex, cox, logrank, survival_ipcw, roc_auc, multiclass_metrics, nonparametric_tests, hypergeom_bh, seg_metrics, zoom,
             affine_transform, sitk_resample, filters, histogram_matching, clahe3d, morphology, marching_cubes):
    for i in range(4):
        make(i)
