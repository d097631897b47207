//! One cell of eight voxels: the surface that the values at its corners imply.

use std::sync::LazyLock;

/// Corner `c` lies at (c & 1, c >> 1 & 1, c >> 2) of its cell.
pub(super) const CORNERS: usize = 8;

/// The corners of each edge: four along x, four along y, four along z, the lower corner first.
pub(super) const EDGES: [[usize; 2]; 12] =
    [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];

/// The corners of each face, counter-clockwise from outside.
const FACES: [[usize; 4]; 6] =
    [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]];

/// The four edges along each axis, in cyclic order around it.
const AROUND: [[usize; 4]; 3] = [[0, 1, 3, 2], [4, 5, 7, 6], [8, 9, 11, 10]];

const fn edge_of(a: usize, b: usize) -> usize {
    let mut e = 0;
    while e < 12 {
        if (EDGES[e][0] == a && EDGES[e][1] == b) || (EDGES[e][0] == b && EDGES[e][1] == a) {
            return e;
        }
        e += 1;
    }
    12
}

/// For each face the edge from each of its corners to the next.
const FACE_EDGES: [[usize; 4]; 6] = {
    let mut edges = [[0; 4]; 6];
    let mut f = 0;
    while f < 6 {
        let mut i = 0;
        while i < 4 {
            edges[f][i] = edge_of(FACES[f][i], FACES[f][(i + 1) % 4]);
            i += 1;
        }
        f += 1;
    }
    edges
};

/// For each edge the two faces that it borders, as bits.
const FACES_OF: [u8; 12] = {
    let mut faces_of = [0; 12];
    let mut f = 0;
    while f < 6 {
        let mut i = 0;
        while i < 4 {
            faces_of[FACE_EDGES[f][i]] |= 1 << f;
            i += 1;
        }
        f += 1;
    }
    faces_of
};

/// Whether two edges border one face: a cut between them would lie in it, where the next cell may cut as well.
pub(super) fn share_face(a: usize, b: usize) -> bool {
    FACES_OF[a] & FACES_OF[b] != 0
}

/// A closed line on the faces of a cell: the edges that it crosses.
pub(super) type Loop = Vec<usize>;

/// A piece of surface in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Patch {
    /// A disc that fills a loop.
    Disc(Loop),
    /// A tunnel between two loops.
    Tunnel(Loop, Loop),
}

/// The patches of a cell with corner values `v` relative to the level; positive is inside.
///
/// Faces whose corners alternate are decided by the value of their bilinear saddle, pairs of corners that only the
/// interior joins by the trilinear interpolant (`exact`); or all by keeping the inside apart.
pub(super) fn patches(v: &[f64; CORNERS], exact: bool) -> Vec<Patch> {
    let (loops, mut region) = trace(v, exact);
    if !exact || loops.len() < 2 {
        return loops.into_iter().map(Patch::Disc).collect();
    }
    let mut loops: Vec<Option<Loop>> = loops.into_iter().map(Some).collect();
    let mut patches = Vec::new();
    for (a, b) in joined_inside_cell(v) {
        let (a, b) = (region[a], region[b]);
        if a == b {
            continue;
        }
        // The two loops that separate the joined regions from the one between them.
        let touches = |line: &Option<Loop>, region_of: usize| {
            line.as_ref().is_some_and(|l| l.iter().any(|e| EDGES[*e].iter().any(|c| region[*c] == region_of)))
        };
        let other = |line: &Loop, region_of: usize| {
            EDGES[line[0]].map(|c| region[c]).into_iter().find(|r| *r != region_of)
        };
        let first = loops.iter().position(|l| touches(l, a));
        let second = loops.iter().position(|l| touches(l, b));
        if let (Some(first), Some(second)) = (first, second)
            && first != second
            && let (Some(p), Some(q)) = (loops[first].clone(), loops[second].clone())
            && other(&p, a) == other(&q, b)
        {
            patches.push(Patch::Tunnel(p, q));
            (loops[first], loops[second]) = (None, None);
            region.iter_mut().filter(|r| **r == b).for_each(|r| *r = a);
        }
    }
    patches.extend(loops.into_iter().flatten().map(Patch::Disc));
    patches
}

/// The loop of a cell whose signs alone imply a single loop; a set bit of `mask` means that the corner is inside.
pub(super) fn single_loop(mask: usize) -> Option<&'static [usize]> {
    SINGLE[mask].as_deref()
}

static SINGLE: LazyLock<[Option<Loop>; 256]> = LazyLock::new(|| {
    std::array::from_fn(|mask| {
        let inside = |c: usize| mask >> c & 1 == 1;
        let alternates = |f: &[usize; 4]| (0..4).all(|i| inside(f[i]) != inside(f[(i + 1) % 4]));
        let v: [f64; CORNERS] = std::array::from_fn(|c| if inside(c) { 1.0 } else { -1.0 });
        let mut loops = if FACES.iter().any(alternates) { vec![] } else { trace(&v, true).0 };
        if loops.len() == 1 { loops.pop() } else { None }
    })
});

/// The loops on the faces, and for each corner the number of the region of the cell's boundary that it lies in.
fn trace(v: &[f64; CORNERS], exact: bool) -> (Vec<Loop>, [usize; CORNERS]) {
    let inside = |c: usize| v[c] > 0.0;
    let mut next = [12; 12];
    let mut region: [usize; CORNERS] = std::array::from_fn(|c| c);
    let mut same = |a: usize, b: usize| {
        let (x, y) = (region[a], region[b]);
        region.iter_mut().filter(|r| **r == x).for_each(|r| *r = y);
    };
    for [a, b] in EDGES {
        if inside(a) == inside(b) {
            same(a, b);
        }
    }
    for (corners, edges) in FACES.iter().zip(&FACE_EDGES) {
        let leaves = |i: usize| inside(corners[i]) && !inside(corners[(i + 1) % 4]);
        let exits: Vec<usize> = (0..4).filter(|i| leaves(*i)).collect();
        match exits[..] {
            [exit] => {
                let entry = (0..4).find(|i| !inside(corners[*i]) && inside(corners[(i + 1) % 4]));
                next[edges[exit]] = edges[entry.unwrap_or(exit)];
            }
            [first, second] => {
                let value = |i: usize| v[corners[i % 4]];
                let apart = !exact || value(first) * value(second) < value(first + 1) * value(second + 1);
                if apart {
                    same(corners[(first + 1) % 4], corners[(second + 1) % 4]);
                } else {
                    same(corners[first], corners[second]);
                }
                for exit in [first, second] {
                    // Around the inside corner, or around the outside one.
                    let entry = if apart { (exit + 3) % 4 } else { (exit + 1) % 4 };
                    next[edges[exit]] = edges[entry];
                }
            }
            _ => {}
        }
    }
    let mut loops = Vec::new();
    for start in 0..12 {
        let mut line = Vec::new();
        let mut edge = start;
        while edge < 12 && next[edge] < 12 {
            line.push(edge);
            edge = std::mem::replace(&mut next[edge], 12);
        }
        if !line.is_empty() {
            loops.push(line);
        }
    }
    (loops, region)
}

/// Pairs of corners of one side that the trilinear interpolant joins within the cell: in a section across an axis, the
/// hyperbola leaves two opposite edges of the axis in one piece.
fn joined_inside_cell(v: &[f64; CORNERS]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for edges in AROUND {
        for [a, b, c, d] in [[0, 1, 2, 3], [1, 2, 3, 0]].map(|order| order.map(|i| EDGES[edges[i]])) {
            let slope = |e: [usize; 2]| v[e[1]] - v[e[0]];
            let curvature = slope(a) * slope(c) - slope(b) * slope(d);
            let linear = v[a[0]] * slope(c) + v[c[0]] * slope(a) - v[b[0]] * slope(d) - v[d[0]] * slope(b);
            let t = -linear / (2.0 * curvature);
            if !(curvature < 0.0 && t > 0.0 && t < 1.0) {
                continue;
            }
            let at = |e: [usize; 2]| v[e[0]] + t * slope(e);
            let (va, vb, vc, vd) = (at(a), at(b), at(c), at(d));
            let alternate = va * vc > 0.0 && vb * vd > 0.0 && va * vb < 0.0;
            if alternate && va * vc > vb * vd {
                let inner_corner = |e: [usize; 2]| if v[e[0]] * va > 0.0 { e[0] } else { e[1] };
                pairs.push((inner_corner(a), inner_corner(c)));
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_mask(mask: usize) -> [f64; CORNERS] {
        std::array::from_fn(|c| if mask >> c & 1 == 1 { 0.5 } else { -0.5 })
    }

    #[test]
    fn every_crossed_edge_lies_on_one_loop_for_all_signs() {
        for mask in 0..256 {
            for exact in [false, true] {
                let v = of_mask(mask);
                let (loops, _) = trace(&v, exact);
                let mut seen: Vec<usize> = loops.concat();
                seen.sort_unstable();
                let crossed: Vec<usize> =
                    (0..12).filter(|e| (v[EDGES[*e][0]] > 0.0) != (v[EDGES[*e][1]] > 0.0)).collect();
                assert_eq!(seen, crossed, "{mask:08b}");
                assert!(loops.iter().all(|l| l.len() >= 3));
            }
        }
    }

    #[test]
    fn a_single_loop_is_the_patch_whatever_the_values() {
        let mut found = 0;
        for mask in 0..256 {
            let Some(line) = single_loop(mask) else { continue };
            found += 1;
            for number in 0..40 {
                let size = |c: usize| ((number * 8 + c) as f64 * 1.7).sin().abs() + 1e-3;
                let v = std::array::from_fn(|c| if mask >> c & 1 == 1 { size(c) } else { -size(c) });
                for exact in [false, true] {
                    assert_eq!(patches(&v, exact), [Patch::Disc(line.to_vec())], "{mask:08b}");
                }
            }
        }
        // The others have alternating faces, opposite corners or no crossing.
        assert!(found > 100, "{found}");
    }

    #[test]
    fn opposite_corners_are_joined_when_the_middle_is_inside() {
        let mut v = [-0.5; CORNERS];
        (v[0], v[7]) = (4.0, 4.0);
        assert!(matches!(patches(&v, true)[..], [Patch::Tunnel(_, _)]));
        (v[0], v[7]) = (0.6, 0.6);
        assert_eq!(patches(&v, true).len(), 2);
    }
}
