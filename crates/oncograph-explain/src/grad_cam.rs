use crate::target::gradient;
use crate::{Error, ModelResult, Result};
use candle_core::Tensor;
use oncograph_nn::relu;

/// Where in a feature map the evidence for a class lies: `sum_c mean(dY / dA_c) A_c`, Y the output of the class.
///
/// The model is cut in two: the caller computes the feature map `activation`, and `head` is the rest of the model, from
/// the map to its outputs. As in captum the map is the plain output of the convolution, before norm and ReLU, and the
/// result is neither scaled nor resized; `positive` keeps its positive part only, as in the paper. Bring it to the size
/// of the scan with [`oncograph_nn::interpolate`].
///
/// # Shapes
/// `activation` \[batch, channels, D, H, W\] (or with one or two axes), outputs of `head` \[batch, classes\], one target
/// per sample, give \[batch, 1, D, H, W\].
///
/// # Errors
/// [`Error::Input`] for shapes or targets that do not fit, [`Error::NoGradient`] for a head that does not use the map,
/// [`Error::Model`] for an error of the head.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use oncograph_explain::grad_cam;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Two channels over four voxels; class 0 is the mean of channel 0 minus that of channel 1.
/// let map = Tensor::new(&[[[0f32, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0]]], &Device::Cpu)?;
/// let head = |map: &Tensor| {
///     let means = map.mean(2)?;
///     Ok((means.narrow(1, 0, 1)? - means.narrow(1, 1, 1)?)?)
/// };
/// let cam = grad_cam(&map, &[0], false, head)?;
/// assert_eq!(cam.to_vec3::<f32>()?, [[[0.0, 1.0, -1.0, 0.0]]]);
/// # Ok(())
/// # }
/// ```
///
/// # Reference
/// Selvaraju et al. 2017, equations 1 and 2; `captum.attr.LayerGradCam` (`positive` is `relu_attributions`).
pub fn grad_cam(
    activation: &Tensor,
    target: &[usize],
    positive: bool,
    head: impl Fn(&Tensor) -> ModelResult,
) -> Result<Tensor> {
    const OP: &str = "grad_cam";
    if activation.rank() < 3 {
        return Err(Error::input(OP, "a feature map [batch, channels, axes..]", activation.dims()));
    }
    let gradient = gradient(OP, activation, target, &head)?;
    let axes: Vec<usize> = (2..activation.rank()).collect();
    let weights = gradient.mean_keepdim(axes)?;
    let cam = activation.detach().broadcast_mul(&weights)?.sum_keepdim(1)?;
    Ok(if positive { relu(&cam)? } else { cam })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::pattern;

    #[test]
    fn for_a_linear_head_the_map_sums_to_the_score() {
        // With global average pooling and a linear head, mean(dY/dA_c) is w_c / voxels, so that the sum is Y.
        let map = pattern(&[2, 3, 2, 4, 3], 1).unwrap();
        let weight = pattern(&[3, 2], 2).unwrap();
        let head = |map: &Tensor| -> ModelResult { Ok(map.flatten_from(2)?.mean(2)?.matmul(&weight)?) };
        let cam = grad_cam(&map, &[1, 0], false, head).unwrap();
        assert_eq!(cam.dims(), [2, 1, 2, 4, 3]);
        let sums = cam.flatten_from(1).unwrap().sum(1).unwrap().to_vec1::<f64>().unwrap();
        let logits = head(&map).unwrap().to_vec2::<f64>().unwrap();
        approx::assert_relative_eq!(sums[0], logits[0][1], epsilon = 1e-12);
        approx::assert_relative_eq!(sums[1], logits[1][0], epsilon = 1e-12);
        let positive = grad_cam(&map, &[1, 0], true, head).unwrap();
        let least = positive.min_all().unwrap().to_scalar::<f64>().unwrap();
        assert_eq!(least, 0.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let map = pattern(&[2, 3, 4], 1).unwrap();
        let head = |map: &Tensor| -> ModelResult { Ok(map.mean(2)?) };
        assert!(matches!(grad_cam(&map, &[0], false, head), Err(Error::Input { .. })));
        assert!(matches!(grad_cam(&map, &[0, 3], false, head), Err(Error::Input { .. })));
        let deaf = |map: &Tensor| -> ModelResult { Ok(map.detach().mean(2)?) };
        assert!(matches!(grad_cam(&map, &[0, 1], false, deaf), Err(Error::NoGradient { .. })));
        let broken = |_: &Tensor| -> ModelResult { Err("no weights".into()) };
        let message = grad_cam(&map, &[0, 1], false, broken).unwrap_err().to_string();
        assert_eq!(message, "the explained model: no weights");
    }
}
