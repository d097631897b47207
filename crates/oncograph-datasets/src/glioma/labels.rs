//! What the numbers of a tumour segmentation mean, and whether they look like it.

use oncograph_imaging::Mask;
use serde::{Deserialize, Serialize};

/// What the numbers of a tumour segmentation mean. There is no default: the challenges of 2020, 2023 and 2024 differ, and a
/// file does not record which it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LabelConvention {
    /// 1 necrotic and non-enhancing core, 2 oedema, 4 enhancing: BraTS to 2021, the TCGA collections, UCSF-PDGM.
    Brats2020,
    /// 1 necrotic core, 2 oedema, 3 enhancing.
    Brats2023,
    /// 1 necrotic core, 2 oedema and infiltration, 3 enhancing, 4 resection cavity: scans after surgery.
    Brats2024,
    /// The brain tumours of the Medical Segmentation Decathlon: 1 oedema, 2 non-enhancing core, 3 enhancing.
    Decathlon,
}

impl LabelConvention {
    /// All of them.
    pub const ALL: [Self; 4] = [
        LabelConvention::Brats2020,
        LabelConvention::Brats2023,
        LabelConvention::Brats2024,
        LabelConvention::Decathlon,
    ];

    pub(super) fn enhancing(self) -> u8 {
        match self {
            LabelConvention::Brats2020 => 4,
            LabelConvention::Brats2023 | LabelConvention::Brats2024 | LabelConvention::Decathlon => 3,
        }
    }

    pub(super) fn oedema(self) -> u8 {
        match self {
            LabelConvention::Brats2020 | LabelConvention::Brats2023 | LabelConvention::Brats2024 => 2,
            LabelConvention::Decathlon => 1,
        }
    }

    /// The part of the core that does not enhance.
    fn core(self) -> u8 {
        3 - self.oedema()
    }

    /// What surgery left, which is no tumour.
    pub(super) fn cavity(self) -> Option<u8> {
        (self == LabelConvention::Brats2024).then_some(4)
    }

    /// Whether a number exists; 0 is the background.
    pub(super) fn has(self, label: u8) -> bool {
        label < 3 || label == self.enhancing() || Some(label) == self.cavity()
    }

    /// The name that settings have, and the numbers.
    pub fn describe(self) -> &'static str {
        match self {
            LabelConvention::Brats2020 => "brats2020 (0, 1, 2, 4)",
            LabelConvention::Brats2023 => "brats2023 (0, 1, 2, 3)",
            LabelConvention::Brats2024 => "brats2024 (0, 1, 2, 3, 4 resection cavity)",
            LabelConvention::Decathlon => "decathlon (0, 1 oedema, 2, 3)",
        }
    }
}

/// The part of a tumour that is looked at (decision G-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TumourLabel {
    /// Everything but oedema; the whole tumour where that is empty, which is flagged.
    #[default]
    Core,
    /// The enhancing part; the core and then the whole tumour where it is empty, which is flagged.
    Enhancing,
    /// Everything.
    Whole,
}

/// The mask of a part of the tumour, and what was taken in its place where it is empty. A resection cavity is in no part.
pub(super) fn select(
    labels: &Mask,
    convention: LabelConvention,
    wanted: TumourLabel,
) -> Result<(Mask, Vec<String>), String> {
    let (oedema, enhancing, cavity) = (convention.oedema(), convention.enhancing(), convention.cavity());
    if let Some(label) = labels.as_slice().iter().find(|l| !convention.has(**l)) {
        return Err(LabelLook::foreign(*label, convention));
    }
    let tumour = |l: u8| l != 0 && Some(l) != cavity;
    let part = |part: TumourLabel| -> Mask {
        labels.map(|l| {
            u8::from(match part {
                TumourLabel::Core => tumour(l) && l != oedema,
                TumourLabel::Enhancing => l == enhancing,
                TumourLabel::Whole => tumour(l),
            })
        })
    };
    let order = match wanted {
        TumourLabel::Enhancing => &[TumourLabel::Enhancing, TumourLabel::Core, TumourLabel::Whole][..],
        TumourLabel::Core => &[TumourLabel::Core, TumourLabel::Whole],
        TumourLabel::Whole => &[TumourLabel::Whole],
    };
    for candidate in order {
        let mask = part(*candidate);
        if mask.count() > 0 {
            let word = |t: &TumourLabel| format!("{t:?}").to_lowercase();
            let flags = (*candidate != wanted)
                .then(|| format!("no {} tumour: the {} one was taken", word(&wanted), word(candidate)));
            return Ok((mask, flags.into_iter().collect()));
        }
    }
    Err("the tumour is empty".into())
}

/// How the labels of a segmentation lie to each other: whether a convention fits is seen there, not in the numbers alone.
///
/// Oedema encloses the core, and the enhancing part lies within the tumour. What is counted are the faces that voxels of each
/// label share with those of another, and with the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelLook {
    voxels: [usize; 256],
    /// Faces of label `a` (0 to 4) to label `b`.
    faces: [[usize; KINDS]; KINDS],
}

/// The background and the labels that conventions have.
const KINDS: usize = 5;
/// Fewer faces than these say nothing about what encloses what.
const MEANINGFUL_FACES: usize = 100;

/// What the labels of a segmentation say about a convention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelFit {
    /// Nothing speaks against it.
    Fits,
    /// The labels lie otherwise than they should; why.
    Doubted(String),
    /// A label does not exist under it; which.
    Impossible(String),
}

impl LabelLook {
    /// Looks at a segmentation.
    pub fn of(labels: &Mask) -> Self {
        let mut look = LabelLook { voxels: [0; 256], faces: [[0; KINDS]; KINDS] };
        let ([nx, ny, nz], all) = (labels.shape(), labels.as_slice());
        let steps = [1, nx, nx * ny];
        for (offset, &label) in all.iter().enumerate().filter(|(_, l)| **l != 0) {
            look.voxels[usize::from(label)] += 1;
            let Some(faces) = look.faces.get_mut(usize::from(label)) else { continue };
            let index = [offset % nx, offset / nx % ny, offset / (nx * ny)];
            for (axis, (&i, &n)) in index.iter().zip(&[nx, ny, nz]).enumerate().filter(|(_, (_, n))| **n > 1)
            {
                let below = (i > 0).then(|| all[offset - steps[axis]]);
                let above = (i + 1 < n).then(|| all[offset + steps[axis]]);
                for other in [below, above] {
                    // Beyond the edge lies background.
                    if let Some(count) = faces.get_mut(usize::from(other.unwrap_or(0))) {
                        *count += 1;
                    }
                }
            }
        }
        look
    }

    /// Whether there is an enhancing part under a convention.
    pub fn enhances(&self, convention: LabelConvention) -> bool {
        self.voxels[usize::from(convention.enhancing())] > 0
    }

    /// Whether a convention fits.
    pub fn fit(&self, convention: LabelConvention) -> LabelFit {
        let foreign = (1..=u8::MAX).find(|l| self.voxels[usize::from(*l)] > 0 && !convention.has(*l));
        match foreign {
            Some(label) => LabelFit::Impossible(Self::foreign(label, convention)),
            None => self.doubt(convention).map_or(LabelFit::Fits, LabelFit::Doubted),
        }
    }

    fn foreign(label: u8, convention: LabelConvention) -> String {
        format!("label {label} does not exist under {}: another convention?", convention.describe())
    }

    /// Whether what should be core, oedema and enhancing are all there, so that there is something to see.
    pub fn can_be_judged(&self, convention: LabelConvention) -> bool {
        [1, 2, convention.enhancing()].iter().all(|l| self.voxels[usize::from(*l)] > 0)
    }

    fn doubt(&self, convention: LabelConvention) -> Option<String> {
        if !self.can_be_judged(convention) {
            return None;
        }
        let (oedema, enhancing) = (convention.oedema(), convention.enhancing());
        let faces = |a: u8, b: u8| self.faces[usize::from(a)][usize::from(b)];
        let outside = |label: u8| faces(label, 0);
        let under = convention.describe();
        for (label, what) in
            [(convention.core(), "core that does not enhance"), (enhancing, "enhancing part")]
        {
            let (own, of_oedema) = (outside(label), outside(oedema));
            if own > 2 * of_oedema && own >= MEANINGFUL_FACES {
                return Some(format!(
                    "label {label} borders on the background more than label {oedema} ({own} faces of voxels, {of_oedema}), but \
                     under {under} label {oedema} is the oedema, which encloses the {what}: do the numbers follow another \
                     convention?"
                ));
            }
        }
        let touching: usize = [convention.core(), oedema].iter().map(|l| faces(enhancing, *l)).sum();
        (touching == 0 && outside(enhancing) >= MEANINGFUL_FACES).then(|| {
            format!(
                "label {enhancing}, under {under} the enhancing part, touches neither the core nor the oedema: do the numbers \
                 follow another convention?"
            )
        })
    }
}

/// Whether the labels of a whole cohort follow a convention: one patient may look odd, but not most of them.
///
/// Refused where labels do not exist under it in more than a tenth of the patients, or lie otherwise than they should in more than half
/// of those in whom that can be seen; the text says what speaks against it and which convention fits best.
///
/// # Errors
/// The text.
pub fn check_convention<'a>(
    looks: impl Iterator<Item = &'a LabelLook> + Clone,
    convention: LabelConvention,
) -> Result<(), String> {
    let (mut all, mut judged, mut impossible, mut doubted) = (0, 0, vec![], vec![]);
    for look in looks.clone() {
        all += 1;
        judged += usize::from(look.can_be_judged(convention));
        match look.fit(convention) {
            LabelFit::Fits => {}
            LabelFit::Doubted(why) => doubted.push(why),
            LabelFit::Impossible(why) => impossible.push(why),
        }
    }
    // Read as scans after surgery, those before it would lose their enhancing part.
    let with = |label: u8| looks.clone().filter(|look| look.voxels[usize::from(label)] > 0).count();
    let cavities = convention.cavity().map_or(0, with);
    let no_enhancing = format!(
        "it has the resection cavity, and no scan has label {}, the enhancing part",
        convention.enhancing()
    );
    let why = match (impossible.first(), doubted.first()) {
        _ if cavities > 0 && with(convention.enhancing()) == 0 => (cavities, all, &no_enhancing),
        (Some(why), _) if 10 * impossible.len() > all => (impossible.len(), all, why),
        (_, Some(why)) if 2 * doubted.len() > judged => (doubted.len(), judged, why),
        _ => return Ok(()),
    };
    let fits = |c: LabelConvention| looks.clone().filter(|look| look.fit(c) == LabelFit::Fits).count();
    let best = LabelConvention::ALL.into_iter().max_by_key(|c| (fits(*c), std::cmp::Reverse(*c)));
    let best = best
        .filter(|c| *c != convention)
        .map_or(String::new(), |c| format!("; {} fits {} of {all} patients", c.describe(), fits(c)));
    Err(format!("in {} of {} patients the labels speak against it, the first: {}{best}", why.0, why.1, why.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_imaging::{Frame, Grid, Volume};

    /// Labels by the distance from the centre.
    fn shells(of: impl Fn(usize) -> u8) -> Mask {
        let grid = Grid::axis_aligned([17; 3], [1.0; 3], [0.0; 3]).unwrap();
        Mask::from_fn(grid, Frame::default(), |i| of(i.iter().map(|v| v.abs_diff(8)).max().unwrap_or(0)))
    }

    /// Core, enhancing rim and oedema, in the numbers of a convention.
    fn tumour(core: u8, enhancing: u8, oedema: u8) -> Mask {
        shells(|r| match r {
            0..2 => core,
            2..4 => enhancing,
            4..6 => oedema,
            _ => 0,
        })
    }

    fn fits(labels: &Mask) -> Vec<LabelConvention> {
        let look = LabelLook::of(labels);
        LabelConvention::ALL.into_iter().filter(|c| look.fit(*c) == LabelFit::Fits).collect()
    }

    #[test]
    fn a_convention_is_doubted_where_the_labels_lie_otherwise() {
        use LabelConvention::{Brats2020, Brats2023, Brats2024, Decathlon};
        // Without a 3, what a 4 is shows in the cohort alone.
        assert_eq!(fits(&tumour(1, 4, 2)), [Brats2020, Brats2024]);
        assert_eq!(fits(&tumour(1, 3, 2)), [Brats2023, Brats2024]);
        assert_eq!(fits(&tumour(2, 3, 1)), [Decathlon]);
        // The enhancing part on the outside: 3 is the oedema of some tool's own numbers.
        assert_eq!(fits(&tumour(1, 2, 3)), []);
        let doubt = |labels: &Mask, c| match LabelLook::of(labels).fit(c) {
            LabelFit::Doubted(why) => why,
            other => format!("{other:?}"),
        };
        assert!(
            doubt(&tumour(2, 3, 1), Brats2023).contains("label 2 is the oedema, which encloses the core")
        );
        assert!(doubt(&tumour(1, 2, 3), Brats2023).contains("encloses the enhancing part"));
        // Far from the tumour, within an oedema as large as itself.
        let apart = Mask::from_fn(
            Grid::axis_aligned([40, 9, 9], [1.0; 3], [0.0; 3]).unwrap(),
            Frame::default(),
            |i| match i[0] {
                0..3 => 3,
                10..12 => 1,
                12..40 => 2,
                _ => 0,
            },
        );
        assert!(doubt(&apart, Brats2023).contains("touches neither the core nor the oedema"));
        // Without one of the three there is nothing to see, and in few voxels nothing to trust.
        assert_eq!(fits(&tumour(0, 3, 1)), [Brats2023, Brats2024, Decathlon]);
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let few = Volume::new(grid, Frame::default(), vec![0, 1, 2, 3]).unwrap();
        assert_eq!(fits(&few), [Brats2023, Brats2024, Decathlon]);
    }

    #[test]
    fn a_resection_cavity_is_no_tumour() {
        let labels = shells(|r| match r {
            0..3 => 4,
            3..4 => 3,
            4..5 => 1,
            5..7 => 2,
            _ => 0,
        });
        assert_eq!(fits(&labels), [LabelConvention::Brats2024]);
        let count = |part| select(&labels, LabelConvention::Brats2024, part).unwrap().0.count();
        let of = |label: u8| labels.as_slice().iter().filter(|l| **l == label).count();
        assert_eq!(count(TumourLabel::Core), of(1) + of(3));
        assert_eq!(count(TumourLabel::Enhancing), of(3));
        assert_eq!(count(TumourLabel::Whole), of(1) + of(2) + of(3));
        let error =
            select(&shells(|r| if r < 3 { 4 } else { 0 }), LabelConvention::Brats2024, TumourLabel::Whole);
        assert_eq!(error.unwrap_err(), "the tumour is empty");
    }

    #[test]
    fn a_cohort_is_refused_where_most_speak_against_the_convention() {
        let look = |core, enhancing, oedema| LabelLook::of(&tumour(core, enhancing, oedema));
        let check = |looks: &[LabelLook], c| check_convention(looks.iter(), c);
        let decathlon = vec![look(2, 3, 1); 4];
        let error = check(&decathlon, LabelConvention::Brats2023).unwrap_err();
        assert!(
            error.starts_with("in 4 of 4 patients")
                && error.ends_with("decathlon (0, 1 oedema, 2, 3) fits 4 of 4 patients"),
            "{error}"
        );
        check(&decathlon, LabelConvention::Decathlon).unwrap();
        // One odd patient among right ones, be it by place or by number, is no reason to refuse all.
        let one = |odd| [vec![look(1, 3, 2); 19], vec![odd]].concat();
        check(&one(look(2, 3, 1)), LabelConvention::Brats2023).unwrap();
        check(&one(look(1, 4, 2)), LabelConvention::Brats2023).unwrap();
        // After surgery: patients without enhancement have 4, the cavity, which BraTS 2020 would take for enhancing.
        let cavity = LabelLook::of(&shells(|r| match r {
            0..3 => 4,
            3..6 => 2,
            _ => 0,
        }));
        let error = check(&[cavity.clone(), cavity, look(1, 3, 2)], LabelConvention::Brats2020).unwrap_err();
        assert!(error.contains("label 3 does not exist") && error.contains("brats2024"), "{error}");
        // And before it nothing is a cavity.
        let before = vec![look(1, 4, 2); 3];
        let error = check(&before, LabelConvention::Brats2024).unwrap_err();
        assert!(error.contains("no scan has label 3") && error.contains("brats2020"), "{error}");
        check(&before, LabelConvention::Brats2020).unwrap();
    }
}
