use super::Connectivity;
use crate::error::Result;
use crate::volume::{Mask, Volume};

/// The connected components of a mask.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Components {
    /// 0 for background, else the component's number from 1, by the first voxel in memory order.
    pub volume: Volume<i32>,
    /// Number of voxels of components 1, 2, ...
    pub sizes: Vec<usize>,
}

impl Components {
    /// Number of components.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether the mask was empty.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

/// A run of foreground along x: voxels `start..end` of a row.
struct Run {
    start: usize,
    end: usize,
}

/// Numbers the connected components of the foreground.
///
/// Rows are split into runs, runs that touch are joined: O(voxels), with memory for the runs only.
///
/// # Errors
/// None for a valid mask.
///
/// # Example
/// ```
/// use oncograph_imaging::morphology::{Connectivity, components};
/// use oncograph_imaging::{Frame, Grid, Mask};
///
/// let grid = Grid::axis_aligned([3, 2, 1], [1.0; 3], [0.0; 3])?;
/// let mask = Mask::new(grid, Frame::default(), vec![1, 0, 1, 0, 1, 0])?;
/// assert_eq!(components(&mask, Connectivity::Faces)?.sizes, [1, 1, 1]);
/// assert_eq!(components(&mask, Connectivity::Edges)?.sizes, [3]);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
///
/// # Reference
/// `scipy.ndimage.label`.
pub fn components(mask: &Mask, connectivity: Connectivity) -> Result<Components> {
    let [nx, ny, nz] = mask.shape();
    let mut runs: Vec<Run> = Vec::new();
    let mut first_of_row = vec![0];
    for row in mask.as_slice().chunks_exact(nx) {
        let mut x = 0;
        while let Some(skip) = row[x..].iter().position(|v| *v != 0) {
            let start = x + skip;
            let end = row[start..].iter().position(|v| *v == 0).map_or(nx, |n| start + n);
            runs.push(Run { start, end });
            x = end;
        }
        first_of_row.push(runs.len());
    }
    let mut parent: Vec<u32> = (0..runs.len() as u32).collect();
    for z in 0..nz {
        for y in 0..ny {
            let own = y + ny * z;
            // The earlier rows that touch this one, with the number of axes in which they differ.
            let earlier = [
                (y > 0).then(|| (own - 1, 1)),
                (z > 0).then(|| (own - ny, 1)),
                (z > 0 && y > 0).then(|| (own - ny - 1, 2)),
                (z > 0 && y + 1 < ny).then(|| (own - ny + 1, 2)),
            ];
            for (other, differ) in earlier.into_iter().flatten() {
                if differ <= connectivity.rank() {
                    let reach = usize::from(differ < connectivity.rank());
                    let rows = [own, other].map(|r| first_of_row[r]..first_of_row[r + 1]);
                    join(&runs, rows, reach, &mut parent);
                }
            }
        }
    }
    number(mask, &runs, &first_of_row, &mut parent)
}

/// Joins the runs of two rows that overlap, or lie within `reach` along x.
fn join(runs: &[Run], [a, b]: [std::ops::Range<usize>; 2], reach: usize, parent: &mut [u32]) {
    let (mut i, mut j) = (a.start, b.start);
    while i < a.end && j < b.end {
        if runs[i].start < runs[j].end + reach && runs[j].start < runs[i].end + reach {
            let (x, y) = (root(parent, i as u32), root(parent, j as u32));
            // The smaller number is the root, so that roots are the first runs of their components.
            parent[x.max(y) as usize] = x.min(y);
        }
        if runs[i].end < runs[j].end { i += 1 } else { j += 1 }
    }
}

fn root(parent: &mut [u32], mut i: u32) -> u32 {
    while parent[i as usize] != i {
        let above = parent[parent[i as usize] as usize];
        parent[i as usize] = above;
        i = above;
    }
    i
}

fn number(mask: &Mask, runs: &[Run], first_of_row: &[usize], parent: &mut [u32]) -> Result<Components> {
    let nx = mask.shape()[0];
    let mut label = vec![0; runs.len()];
    let mut sizes = Vec::new();
    let mut data = vec![0_i32; mask.grid().len()];
    for (row, bounds) in first_of_row.windows(2).enumerate() {
        for i in bounds[0]..bounds[1] {
            let top = root(parent, i as u32) as usize;
            if top == i {
                sizes.push(0);
                label[i] = sizes.len() as i32;
            }
            label[i] = label[top];
            sizes[label[i] as usize - 1] += runs[i].end - runs[i].start;
            data[row * nx + runs[i].start..row * nx + runs[i].end].fill(label[i]);
        }
    }
    let volume = Volume::new(mask.grid().clone(), mask.frame().clone(), data)?;
    Ok(Components { volume, sizes })
}

/// The mask of the largest component (the first of equals); an empty mask stays empty.
///
/// # Errors
/// None for a valid mask.
pub fn largest_component(mask: &Mask, connectivity: Connectivity) -> Result<Mask> {
    let found = components(mask, connectivity)?;
    let largest = found.sizes.iter().max().copied().unwrap_or(0);
    let label = found.sizes.iter().position(|s| *s == largest).map_or(0, |i| i as i32 + 1);
    Ok(found.volume.map(|l| u8::from(l != 0 && l == label)))
}

/// The mask without the components of fewer than `voxels` voxels.
///
/// # Errors
/// None for a valid mask.
///
/// # Reference
/// `skimage.morphology.remove_small_objects`.
pub fn remove_small(mask: &Mask, connectivity: Connectivity, voxels: usize) -> Result<Mask> {
    let found = components(mask, connectivity)?;
    Ok(found.volume.map(|l| u8::from(l != 0 && found.sizes[l as usize - 1] >= voxels)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    /// The definition: flood from every voxel in memory order.
    fn flood(mask: &Mask, connectivity: Connectivity) -> Vec<i32> {
        let structure = crate::morphology::StructuringElement::from(connectivity);
        let mut label = vec![0; mask.grid().len()];
        let mut count = 0;
        for start in 0..label.len() {
            if mask.as_slice()[start] == 0 || label[start] != 0 {
                continue;
            }
            count += 1;
            label[start] = count;
            let mut stack = vec![start];
            while let Some(here) = stack.pop() {
                let index = mask.grid().index_of(here);
                for offset in structure.offsets() {
                    let at: [i64; 3] = std::array::from_fn(|a| index[a] as i64 + offset[a]);
                    let inside = (0..3).all(|a| at[a] >= 0 && at[a] < mask.shape()[a] as i64);
                    let Some(o) = inside.then(|| mask.grid().offset(at.map(|v| v as usize))).flatten() else {
                        continue;
                    };
                    if mask.as_slice()[o] != 0 && label[o] == 0 {
                        label[o] = count;
                        stack.push(o);
                    }
                }
            }
        }
        label
    }

    #[test]
    fn equals_the_flood_for_every_connectivity_and_density() {
        let mut state = 5_u64;
        for shape in [[9, 8, 7], [1, 12, 3], [17, 1, 1], [2, 2, 9]] {
            for modulus in [1, 2, 3, 5] {
                let grid = Grid::axis_aligned(shape, [1.0; 3], [0.0; 3]).unwrap();
                let mask = Mask::from_fn(grid, Frame::default(), |_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    u8::from((state >> 33).is_multiple_of(modulus))
                });
                for connectivity in [Connectivity::Faces, Connectivity::Edges, Connectivity::Corners] {
                    let found = components(&mask, connectivity).unwrap();
                    assert_eq!(
                        found.volume.as_slice(),
                        flood(&mask, connectivity),
                        "{shape:?} {connectivity:?}"
                    );
                    assert_eq!(found.sizes.iter().sum::<usize>(), mask.count());
                    let largest = largest_component(&mask, connectivity).unwrap();
                    assert_eq!(Some(&largest.count()), found.sizes.iter().max().or(Some(&0)));
                    let kept = remove_small(&mask, connectivity, 3).unwrap().count();
                    assert_eq!(kept, found.sizes.iter().filter(|s| **s >= 3).sum::<usize>());
                }
            }
        }
    }
}
