//! The nodes of STG's graphs, by the kernels of `assemble.cu`. The operation itself is in `oncograph-spatiotemporal`,
//! which may have no `unsafe`.
#![allow(unsafe_code)]

use super::launch::{Packed, address, config, function, per_element, result, storage};
use crate::cuda::launch::launch;
use candle_core::backend::BackendStorage as _;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Shape};
use oncograph_kernels::ASSEMBLE;

const LEVELS: usize = 3;
const KINDS: usize = 7;
const CLINICAL: u32 = 1 << 31;

/// The levels of the pyramids of images, \[rows, 3, width\], in the memory of a device.
#[derive(Debug)]
pub struct Pyramids {
    values: CudaSlice<f32>,
    rows: usize,
    width: usize,
}

impl Pyramids {
    /// Copies them.
    ///
    /// # Errors
    /// An error of the driver.
    pub fn new(values: &[f32], width: usize, device: &CudaDevice) -> Result<Self> {
        let rows = values.len() / (LEVELS * width).max(1);
        let values = device.clone_htod(if values.is_empty() { &[0.0][..] } else { values })?;
        Ok(Pyramids { values, rows, width })
    }
}

/// Where the nodes of a batch get their features from, in the memory of a device.
#[derive(Debug)]
pub struct NodeSources {
    list: CudaSlice<u32>,
    count: usize,
    /// Rows of images, and of clinical features, that there must be.
    rows: (usize, usize),
}

impl NodeSources {
    /// Copies for each node whether it is clinical, and its row.
    ///
    /// # Errors
    /// For a row of 2^31 or more, or an error of the driver.
    pub fn new(nodes: impl Iterator<Item = (bool, u32)>, device: &CudaDevice) -> Result<Self> {
        let (mut list, mut rows) = (vec![], (0, 0));
        for (clinical, row) in nodes {
            if row >= CLINICAL {
                candle_core::bail!("node assembly: row {row}");
            }
            list.push(if clinical { row | CLINICAL } else { row });
            let rows = if clinical { &mut rows.1 } else { &mut rows.0 };
            *rows = (row as usize + 1).max(*rows);
        }
        Ok(NodeSources { count: list.len(), list: super::lists::copy(device, &list)?, rows })
    }
}

/// The features of all nodes, from the weights of the levels \[3\] and the clinical features \[rows, width\]. `noise`
/// \[nodes, width\] is added to images; with `one_hot` seven columns more hold the kind of the node.
///
/// # Errors
/// For another type than f32 or a row that does not exist, or an error of the driver.
pub fn assemble(
    [(weights, w_layout), (clinical, c_layout)]: [(&CudaStorage, &Layout); 2],
    table: &Pyramids,
    nodes: &NodeSources,
    noise: Option<&[f32]>,
    one_hot: bool,
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "node assembly";
    let (device, width, kinds) = (weights.device(), table.width, if one_hot { KINDS } else { 0 });
    check(table, nodes, noise.is_none_or(|noise| noise.len() == nodes.count * width))?;
    if nodes.rows.1 > 0
        && (c_layout.shape().dims2()?.1 != width || c_layout.shape().dims2()?.0 < nodes.rows.1)
        || w_layout.shape().elem_count() != LEVELS
    {
        candle_core::bail!(
            "{OP}: {:?} weights and {:?} clinical features",
            w_layout.shape(),
            c_layout.shape()
        );
    }
    let shape = Shape::from((nodes.count, width + kinds));
    let mut out = result::<f32>(device, OP, shape.elem_count())?;
    if shape.elem_count() > 0 {
        let noise = noise.map(|noise| device.clone_htod(noise)).transpose()?;
        let noise = address(device, noise.as_ref());
        let (weights, clinical) = (Packed::new(weights, w_layout)?, Packed::new(clinical, c_layout)?);
        let (weights, clinical) = (weights.view::<f32>()?, clinical.view::<f32>()?);
        let run = function::<f32>(device, &ASSEMBLE, "assemble")?;
        let grid = per_element(shape.elem_count());
        let (count, width, kinds) = (nodes.count as u32, width as u32, kinds as u32);
        // SAFETY: as the kernel declares them; rows of nodes are below those of the table and of the clinical features.
        unsafe {
            launch!(
                run,
                grid,
                &weights,
                &clinical,
                &table.values,
                &nodes.list,
                &noise,
                &mut out,
                &count,
                &width,
                &kinds
            )
        }?;
    }
    Ok((storage(out, device), shape))
}

/// The gradient of the weights of the levels, from that of all nodes.
///
/// # Errors
/// As [`assemble`].
pub fn level_gradient(
    (dy, layout): (&CudaStorage, &Layout),
    table: &Pyramids,
    nodes: &NodeSources,
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "node assembly gradient";
    const WARPS: u32 = 8;
    let (device, (rows, columns)) = (dy.device(), layout.shape().dims2()?);
    check(table, nodes, rows == nodes.count && columns >= table.width)?;
    let mut dots = result::<f32>(device, OP, rows * LEVELS)?;
    let mut out = result::<f32>(device, OP, LEVELS)?;
    let (rows, width, columns) = (rows as u32, table.width as u32, columns as u32);
    if rows > 0 {
        let dy = Packed::new(dy, layout)?;
        let dy = dy.view::<f32>()?;
        let dot = function::<f32>(device, &ASSEMBLE, "level_dots")?;
        let grid = config(rows.div_ceil(WARPS), (32, WARPS));
        // SAFETY: as the kernel declares them; rows of images are below those of the table.
        unsafe { launch!(dot, grid, &dy, &table.values, &nodes.list, &mut dots, &rows, &width, &columns) }?;
    }
    let sum = function::<f32>(device, &ASSEMBLE, "sum_levels")?;
    // SAFETY: as the kernel declares them, with three products for each node.
    unsafe { launch!(sum, config(1, (256, 1)), &dots, &mut out, &rows) }?;
    Ok((storage(out, device), Shape::from(LEVELS)))
}

fn check(table: &Pyramids, nodes: &NodeSources, fits: bool) -> Result<()> {
    if !fits || nodes.rows.0 > table.rows {
        candle_core::bail!("node assembly: {:?} rows of nodes for {} images", nodes.rows, table.rows);
    }
    Ok(())
}
