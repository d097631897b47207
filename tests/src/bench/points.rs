//! Searches among 100 000 points.

use super::{Bench, random};
use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use oncograph_graph::geometry::{
    EdgeList, FpsConfig, KnnGraphConfig, Points, RadiusGraphConfig, fps, knn_graph, radius_graph,
};

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] =
    &[("points/fps_1024", farthest), ("points/knn_16", nearest), ("points/radius", near)];

/// Even in the unit cube.
fn cloud(bench: &mut Bench) -> Result<Vec<f32>> {
    let points = ((random(&[100_000, 3], 1)? + 1.0)? * 0.5)?;
    bench.give("points", &points);
    Ok(points.flatten_all()?.to_vec1()?)
}

fn farthest(bench: &mut Bench) -> Result<()> {
    let cloud = cloud(bench)?;
    let points = Points::new(&cloud, 3)?;
    let config = FpsConfig::new(1024.0 / 100_000.0);
    let chosen = bench.time(|| Ok(fps(&points, &config, None)?))?;
    let chosen = Tensor::from_slice(&chosen, chosen.len(), &Device::Cpu)?;
    bench.result("chosen", &chosen.to_dtype(DType::I64)?);
    Ok(())
}

fn degrees(bench: &mut Bench, edges: &EdgeList) -> Result<()> {
    let mut degree = vec![0f32; 100_000];
    edges.targets.iter().for_each(|t| degree[*t as usize] += 1.0);
    bench.result("degrees", &Tensor::from_vec(degree, 100_000, &Device::Cpu)?);
    Ok(())
}

fn nearest(bench: &mut Bench) -> Result<()> {
    let cloud = cloud(bench)?;
    let points = Points::new(&cloud, 3)?;
    let edges = bench.time(|| Ok(knn_graph(&points, &KnnGraphConfig::new(16))?))?;
    degrees(bench, &edges)
}

fn near(bench: &mut Bench) -> Result<()> {
    let cloud = cloud(bench)?;
    let points = Points::new(&cloud, 3)?;
    // Of the 11 neighbours that a ball of this size holds on average, none is left out.
    let config = RadiusGraphConfig::new(0.03).max_num_neighbors(64);
    let edges = bench.time(|| Ok(radius_graph(&points, &config)?))?;
    degrees(bench, &edges)
}
