//! `oncograph-graph`'s geometry against torch-cluster: neighbours and samples of point clouds.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::{DType, Device, Tensor};
use libtest_mimic::Failed;
use oncograph_graph::geometry::{
    Coordinate, EdgeList, Flow, FpsConfig, KnnGraphConfig, Points, RadiusGraphConfig, fps, knn_graph,
    radius_graph,
};
use serde_json::Value;

/// The operations of this module.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "radius_graph",
        reference: "torch_cluster.radius_graph",
        items: &["oncograph_graph::geometry::radius_graph"],
        run: |f| with_points(f, radius_case::<f32>, radius_case::<f64>),
    },
    Operation {
        name: "knn_graph",
        reference: "torch_cluster.knn_graph",
        items: &["oncograph_graph::geometry::knn_graph"],
        run: |f| with_points(f, knn_case::<f32>, knn_case::<f64>),
    },
    Operation {
        name: "fps",
        reference: "torch_cluster.fps",
        items: &["oncograph_graph::geometry::fps"],
        run: |f| with_points(f, fps_case::<f32>, fps_case::<f64>),
    },
];

/// Runs a case on its points, in their type.
fn with_points(
    f: &Fixture,
    single: fn(&Fixture, &Points<f32>) -> Outcome,
    double: fn(&Fixture, &Points<f64>) -> Outcome,
) -> Outcome {
    let pos = f.tensor("in.pos")?;
    f.described_by_shapes(&["num_workers", "batch_size"]);
    let dim = if pos.rank() == 1 { 1 } else { pos.dim(1)? };
    let batch = match f.has("in.batch") {
        true => f.indices("in.batch")?.into_iter().map(|b| b as u32).collect(),
        false => vec![0; pos.dim(0)?],
    };
    if pos.dtype() == DType::F64 {
        let values: Vec<f64> = pos.flatten_all()?.to_vec1()?;
        return double(f, &Points::new(&values, dim)?.batch(&batch)?);
    }
    let values: Vec<f32> = pos.flatten_all()?.to_vec1()?;
    single(f, &Points::new(&values, dim)?.batch(&batch)?)
}

fn flow(f: &Fixture) -> Result<Flow, Failed> {
    let value = f.option("flow");
    if value.is_null() {
        return Ok(Flow::SourceToTarget);
    }
    serde_json::from_value(value.clone()).map_err(|_| unsupported(format!("flow={value}")))
}

/// Compares edges one by one, and their lengths where the case has them.
fn check_edges(f: &Fixture, edges: &EdgeList) -> Outcome {
    let count = edges.sources.len();
    let rows = [&edges.sources[..], &edges.targets[..]].concat();
    f.check("out.edge_index", &Tensor::from_vec(rows, (2, count), &Device::Cpu)?)?;
    if f.has("out.dist") {
        let pos = f.tensor("in.pos")?;
        let ends = |nodes: &[u32]| pos.index_select(&Tensor::from_slice(nodes, count, &Device::Cpu)?, 0);
        let between = (ends(&edges.sources)? - ends(&edges.targets)?)?;
        f.check("out.dist", &between.sqr()?.sum(1)?.sqrt()?)?;
    }
    Ok(())
}

fn radius_case<T: Coordinate>(f: &Fixture, points: &Points<T>) -> Outcome {
    let config = RadiusGraphConfig::new(f.option("r").as_f64().ok_or("no r")?)
        .self_loops(f.bool("loop", false))
        .max_num_neighbors(f.number("max_num_neighbors", 32.0) as usize)
        .flow(flow(f)?);
    check_edges(f, &radius_graph(points, &config)?)
}

fn knn_case<T: Coordinate>(f: &Fixture, points: &Points<T>) -> Outcome {
    if f.bool("cosine", false) {
        return Err(unsupported("cosine=true"));
    }
    let config = KnnGraphConfig::new(f.usize("k")?).self_loops(f.bool("loop", false)).flow(flow(f)?);
    check_edges(f, &knn_graph(points, &config)?)
}

fn fps_case<T: Coordinate>(f: &Fixture, points: &Points<T>) -> Outcome {
    if f.bool("random_start", false) {
        return Err(unsupported("random_start=true, which no two programs share"));
    }
    let config = match f.option("ratio") {
        Value::Null => FpsConfig::default(),
        Value::Array(each) => {
            FpsConfig::default().ratio_of_each(each.iter().filter_map(Value::as_f64).collect::<Vec<_>>())
        }
        one => FpsConfig::new(one.as_f64().ok_or("ratio")?),
    };
    let index = fps(points, &config, None)?;
    let count = index.len();
    f.check("out.index", &Tensor::from_vec(index, count, &Device::Cpu)?)
}
