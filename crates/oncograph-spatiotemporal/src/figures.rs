use crate::{ANATOMY, CtFeatures, PreparedImages, Result, Stg, StgConfig};
use candle_core::{DType, Device};
use oncograph_imaging::Volume;
use oncograph_nn::{ParamStore, Seed};
use oncograph_report::overlay::{OverlayMask, OverlaySlice, contact_sheet};
use oncograph_report::palette::OKABE_ITO;
use oncograph_report::{Cell, Figure, ReportTable};
use std::collections::BTreeMap;

/// Of less than this share on the block a structure counts as cut off.
const WHOLE: f32 = 0.9;

/// How many patients lack each anatomical node, and what the network's grid lost.
pub fn missing_structures(images: &[CtFeatures]) -> ReportTable {
    let table = ReportTable::new(
        "Structures and the network's grid",
        ["Structure", "Not segmented", "Outside", "Cut off"],
    );
    let rows = ANATOMY.iter().enumerate().fold(table, |table, (node, name)| {
        let count = |of: &dyn Fn(Option<f32>) -> bool| images.iter().filter(|p| of(p.kept[node])).count();
        let missing = count(&|kept| kept.is_none());
        let outside = count(&|kept| kept == Some(0.0));
        let cut = count(&|kept| kept.is_some_and(|share| share > 0.0 && share < WHOLE));
        table.row([Cell::text(*name), Cell::count(missing), Cell::count(outside), Cell::count(cut)])
    });
    rows.note(
        "Patients. A structure that was not segmented, or lies outside of the block of slices, is no node of the patient's \
         graph. Cut off: more than a tenth of its volume lies outside.",
    )
}

/// The encoder's input of named patients: the slice with most tumour, and two beside it, with the masks.
///
/// # Errors
/// No patient, or an error of the drawing.
pub fn slices_with_masks(shown: &[(String, PreparedImages)]) -> Result<Figure> {
    // Drawn where half of a voxel or more is inside.
    let inside =
        |mask: &Volume<f32>| mask.as_slice().iter().map(|v| u8::from(*v >= 0.5)).collect::<Vec<u8>>();
    let masks: Vec<[Vec<u8>; 5]> = shown.iter().map(|(_, p)| p.masks.each_ref().map(inside)).collect();
    let mut sheet = vec![];
    for ((id, images), masks) in shown.iter().zip(&masks) {
        let [x, y, z] = images.ct.shape();
        let pixels = x * y;
        let marked = if images.empty[4] { &images.masks[0] } else { &images.masks[4] };
        let area = |k: usize| marked.as_slice()[k * pixels..(k + 1) * pixels].iter().sum::<f32>();
        let middle = (0..z).max_by(|&a, &b| area(a).total_cmp(&area(b)).then(b.cmp(&a))).unwrap_or(0);
        let step = (z / 8).max(1);
        for k in [middle.saturating_sub(step), middle, (middle + step).min(z - 1)] {
            sheet.push(slice(images, masks, k).titled(format!("{id}, slice {} of {z}", k + 1)));
        }
    }
    let figure = contact_sheet(&sheet, 3, 0.8)?;
    Ok(figure
        .titled("The encoder's input: windowed, equalised CT with the masks of the five anatomical nodes"))
}

fn slice<'a>(images: &'a PreparedImages, masks: &'a [Vec<u8>; 5], k: usize) -> OverlaySlice<'a> {
    const COLOURS: [usize; 5] = [3, 2, 0, 4, 1];
    let [x, y, _] = images.ct.shape();
    let (range, spacing) = (k * x * y..(k + 1) * x * y, images.ct.grid().spacing());
    let slice =
        OverlaySlice::new(&images.ct.as_slice()[range.clone()], x, y).spacing([spacing[0], spacing[1]]);
    // The encoder's frame is LPS: the patient's right is on the left.
    let slice = slice.outlined().sides('R', 'L');
    masks.iter().enumerate().fold(slice, |slice, (m, mask)| {
        slice.mask(OverlayMask {
            name: ANATOMY[m],
            pixels: &mask[range.clone()],
            colour: OKABE_ITO[COLOURS[m]],
        })
    })
}

/// The parameters of a network, group by group (section 11).
///
/// # Errors
/// A configuration that is not valid.
pub fn parameter_table(config: &StgConfig) -> Result<ReportTable> {
    let store = ParamStore::new(Seed::new(0));
    Stg::new(config, store.var_builder(DType::F32, &Device::Cpu))?;
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for (name, var) in store.trainable() {
        let group = name.split('.').next().unwrap_or_default().to_string();
        *groups.entry(group).or_default() += var.elem_count();
    }
    let caption = format!("Parameters, {:?}, {} clinical covariates", config.architecture, config.clinical);
    let rows =
        groups.iter().fold(ReportTable::new(caption, ["Group", "Parameters"]), |table, (name, count)| {
            table.row([Cell::text(name.clone()), Cell::count(*count)])
        });
    let graph_part: usize =
        groups.iter().filter(|(n, _)| !["nodes", "task"].contains(&n.as_str())).map(|(_, c)| c).sum();
    Ok(rows
        .row([Cell::text("all"), Cell::count(store.parameter_count())])
        .note(format!("Without node inputs (clinical layer, pooling) and variances of the losses, as the paper counts: {graph_part}")))
}
