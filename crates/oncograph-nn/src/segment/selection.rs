#[cfg(feature = "cuda")]
use crate::cuda::{lists::OnDevice, selection as cuda};
use crate::{Error, Result, portable};
use candle_core::Tensor;
#[cfg(feature = "cuda")]
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Shape};
use std::sync::Arc;

/// Rows that are selected again and again, as those of the sources of all edges of a graph.
///
/// On a CUDA device the list is copied once, and the gradient of a row is summed in the order of the list.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_nn::segment::RowSelection;
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let selection = Arc::new(RowSelection::new(vec![2, 0, 2], 3)?);
/// let x = Tensor::new(&[[1f32], [2.], [4.]], &Device::Cpu)?;
/// assert_eq!(selection.of(&x)?.to_vec2::<f32>()?, [[4.], [1.], [4.]]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSelection {
    ids: Vec<u32>,
    rows: usize,
    #[cfg(feature = "cuda")]
    on_device: OnDevice<cuda::SelectionLists>,
}

impl RowSelection {
    /// The rows `ids` of tensors with `rows` rows, in this order.
    ///
    /// # Errors
    /// [`Error::Shape`] for a row that does not exist.
    pub fn new(ids: Vec<u32>, rows: usize) -> Result<Self> {
        if let Some(id) = ids.iter().find(|id| **id as usize >= rows) {
            return Err(Error::shape("RowSelection", format!("rows below {rows}"), id));
        }
        Ok(Self::known(ids, rows))
    }

    /// [`RowSelection::new`] for numbers that are known to be in range.
    pub(super) fn known(ids: Vec<u32>, rows: usize) -> Self {
        RowSelection {
            ids,
            rows,
            #[cfg(feature = "cuda")]
            on_device: OnDevice::default(),
        }
    }

    /// The numbers of the rows.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The rows of `x`.
    ///
    /// # Shapes
    /// `x` \[rows, ..\] -> \[ids, ..\]
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of rows; an error of candle.
    pub fn of(self: &Arc<Self>, x: &Tensor) -> Result<Tensor> {
        if x.rank() == 0 || x.dim(0)? != self.rows {
            return Err(Error::shape("RowSelection", format!("[{}, ..]", self.rows), x.dims()));
        }
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() && matches!(x.dtype(), DType::F32 | DType::F64) {
            let mut dims = x.dims().to_vec();
            let width: usize = dims[1..].iter().product();
            let selected = x.reshape((self.rows, width))?.apply_op1(Select(self.clone()))?;
            dims[0] = self.ids.len();
            return Ok(selected.reshape(dims)?);
        }
        portable::rows_at(x, &self.ids)
    }
}

#[cfg(feature = "cuda")]
struct Select(Arc<RowSelection>);

#[cfg(feature = "cuda")]
impl Select {
    fn lists(&self, device: &candle_core::CudaDevice) -> candle_core::Result<Arc<cuda::SelectionLists>> {
        let RowSelection { ids, rows, on_device } = &*self.0;
        on_device.get(device, || cuda::SelectionLists::new(ids, *rows, device))
    }
}

#[cfg(feature = "cuda")]
impl CustomOp1 for Select {
    fn name(&self) -> &'static str {
        "row selection"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        candle_core::bail!("on the CPU rows are selected by candle")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> candle_core::Result<(CudaStorage, Shape)> {
        let lists = self.lists(candle_core::backend::BackendStorage::device(x))?;
        cuda::select((x, layout), &lists)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dx = crate::cuda::tensors::on_device([dy], |[(dy, layout)]| {
            let lists = self.lists(candle_core::backend::BackendStorage::device(dy))?;
            cuda::sum_selected((dy, layout), &lists)
        })?;
        Ok(Some(dx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_devices, check_gradients, pattern};

    #[test]
    fn rows_and_their_gradients() {
        for (ids, rows) in [(vec![], 3), (vec![0], 1), (vec![2, 0, 2, 2], 4), (vec![1; 9001], 2)] {
            let selection = Arc::new(RowSelection::new(ids, rows).unwrap());
            for shape in [&[rows][..], &[rows, 3], &[rows, 2, 2], &[rows, 0]] {
                let x = [pattern(shape, 1).unwrap()];
                check_devices(&x, |x| selection.of(&x[0])).unwrap();
            }
        }
        let selection = Arc::new(RowSelection::new(vec![2, 0, 2], 3).unwrap());
        check_gradients(|x| selection.of(&x[0]), &[pattern(&[3, 2], 1).unwrap()], 1e-5, 1e-8).unwrap();
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        let message = RowSelection::new(vec![0, 3], 3).unwrap_err().to_string();
        assert_eq!(message, "RowSelection: expected rows below 3, got 3");
        let selection = Arc::new(RowSelection::new(vec![0], 3).unwrap());
        assert!(selection.of(&pattern(&[4, 2], 1).unwrap()).is_err());
    }
}
