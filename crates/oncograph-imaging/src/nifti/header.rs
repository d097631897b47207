//! The geometry and type fields of the NIfTI-1 header, in both directions.

use crate::frame::Frame;
use crate::grid::Grid;
use nalgebra::{Matrix3, Matrix4, Quaternion, Rotation3, UnitQuaternion};
use nifti::NiftiHeader;

/// Bytes of the header and of the (empty) extension flag behind it.
pub(super) const DATA_OFFSET: usize = 352;

/// The affine of the qform fields.
///
/// The quaternion's first component follows from the unit length; `pixdim[0]` (qfac) -1 flips the third axis.
pub(super) fn qform_affine(header: &NiftiHeader) -> Matrix4<f64> {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let rest = 1.0 - (b * b + c * c + d * d);
    // A rotation by 180 degrees stored in f32 may leave a tiny negative rest.
    let quaternion = Quaternion::new(rest.max(0.0).sqrt(), b, c, d);
    let rotation = UnitQuaternion::from_quaternion(quaternion).to_rotation_matrix();
    let qfac = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let zooms = [1, 2, 3].map(|i| f64::from(header.pixdim[i]));
    let scale = [zooms[0], zooms[1], zooms[2] * qfac];
    let shift = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    Matrix4::from_fn(|r, c| match (r, c) {
        (3, 3) => 1.0,
        (3, _) => 0.0,
        (_, 3) => shift[r],
        _ => rotation[(r, c)] * scale[c],
    })
}

/// The affine of the sform fields.
pub(super) fn sform_affine(header: &NiftiHeader) -> Matrix4<f64> {
    let rows = [header.srow_x, header.srow_y, header.srow_z, [0.0, 0.0, 0.0, 1.0]];
    Matrix4::from_fn(|r, c| f64::from(rows[r][c]))
}

/// The affine of the zooms alone, centred, with x growing to the left: nibabel's choice for such files.
pub(super) fn pixdim_affine(header: &NiftiHeader, shape: [usize; 3]) -> Matrix4<f64> {
    let mut affine = Matrix4::identity();
    for axis in 0..3 {
        let zoom = f64::from(header.pixdim[axis + 1]) * if axis == 0 { -1.0 } else { 1.0 };
        affine[(axis, axis)] = zoom;
        affine[(axis, 3)] = -zoom * (shape[axis] - 1) as f64 / 2.0;
    }
    affine
}

/// The space that an xform code stands for.
pub(super) fn frame_of_code(code: i16) -> Frame {
    Frame::described(match code {
        1 => "scanner",
        2 => "aligned",
        3 => "Talairach",
        4 => "MNI152",
        _ => "template",
    })
}

fn code_of_frame(frame: &Frame) -> i16 {
    match frame.description.as_str() {
        "scanner" => 1,
        "Talairach" => 3,
        "MNI152" => 4,
        "template" => 5,
        _ => 2,
    }
}

/// The fields that the qform needs; `None` for a sheared grid, which a rotation cannot express.
fn qform_fields(grid: &Grid) -> Option<(f32, [f32; 3])> {
    let mut direction: Matrix3<f64> = grid.direction();
    let gram = direction.transpose() * direction;
    if (gram - Matrix3::identity()).abs().max() > 1e-4 {
        return None;
    }
    let qfac = if direction.determinant() < 0.0 { -1.0 } else { 1.0 };
    direction.column_mut(2).scale_mut(qfac);
    let rotation = Rotation3::from_matrix_unchecked(direction);
    let quaternion = UnitQuaternion::from_rotation_matrix(&rotation).into_inner();
    // The first component is stored as a non-negative square root; q and -q are the same rotation.
    let sign = if quaternion.w < 0.0 { -1.0 } else { 1.0 };
    Some((qfac as f32, [quaternion.i, quaternion.j, quaternion.k].map(|v| (v * sign) as f32)))
}

/// The 348 header bytes and the empty extension flag, little-endian.
pub(super) fn encode(
    grid: &Grid,
    frame: &Frame,
    volumes: i16,
    (datatype, bytes_per_voxel): (i16, usize),
    text: &str,
) -> Vec<u8> {
    let mut bytes = vec![0_u8; DATA_OFFSET];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348_i32.to_le_bytes());
    put(38, b"r");
    put(40, &if volumes == 1 { 3_i16 } else { 4 }.to_le_bytes());
    for axis in 0..7 {
        let size = match axis {
            0..3 => grid.shape()[axis] as i16,
            3 => volumes,
            _ => 1,
        };
        put(42 + 2 * axis, &size.to_le_bytes());
    }
    put(70, &datatype.to_le_bytes());
    put(72, &(8 * bytes_per_voxel as i16).to_le_bytes());
    let qform = qform_fields(grid);
    put(76, &qform.map_or(1.0, |q| q.0).to_le_bytes());
    for (axis, spacing) in grid.spacing().into_iter().enumerate() {
        put(80 + 4 * axis, &(spacing as f32).to_le_bytes());
    }
    put(92, &1.0_f32.to_le_bytes());
    put(108, &(DATA_OFFSET as f32).to_le_bytes());
    put(112, &1.0_f32.to_le_bytes());
    // Spatial unit millimetre.
    put(123, &[2]);
    let text = &text.as_bytes()[..text.len().min(79)];
    put(148, text);
    let code = code_of_frame(frame);
    put(252, &if qform.is_some() { code } else { 0 }.to_le_bytes());
    put(254, &code.to_le_bytes());
    for (axis, shift) in grid.origin().into_iter().enumerate() {
        put(268 + 4 * axis, &(shift as f32).to_le_bytes());
        put(256 + 4 * axis, &qform.map_or(0.0, |q| q.1[axis]).to_le_bytes());
        for column in 0..4 {
            put(280 + 16 * axis + 4 * column, &(grid.affine()[(axis, column)] as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::tests::any_grid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_encode_the_same_affine(grid in any_grid()) {
            let bytes = encode(&grid, &Frame::described("scanner"), 1, (16, 4), "");
            let header = NiftiHeader::from_reader(bytes.as_slice())?;
            prop_assert_eq!((header.qform_code, header.sform_code), (1, 1));
            // Three f32 numbers of a quaternion give the fourth as the root of a difference: near half a turn it is off
            // by up to 5e-4, and the angle by twice as much.
            let size: f64 = (0..3).map(|a| grid.spacing()[a] * grid.shape()[a] as f64).sum();
            for (affine, tolerance) in [(qform_affine(&header), 1e-3 * size), (sform_affine(&header), 1e-4)] {
                prop_assert!(Grid::new(grid.shape(), affine)?.approx_eq(&grid, tolerance));
            }
        }
    }

    #[test]
    fn sheared_grids_have_no_qform() {
        let mut affine = Matrix4::identity();
        affine[(0, 1)] = 0.2;
        let grid = Grid::new([2, 2, 2], affine).unwrap();
        let header =
            NiftiHeader::from_reader(encode(&grid, &Frame::default(), 1, (16, 4), "x").as_slice()).unwrap();
        assert_eq!((header.qform_code, header.sform_code), (0, 2));
        assert_eq!(&header.descrip[..2], b"x\0");
    }
}
