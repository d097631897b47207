//! A kd-tree whose leaves are visited in the order of nanoflann 1.3, on which `torch_cluster` stands.
//!
//! A cell is cut at the middle of its widest side, moved into the range of its points; a side within 1e-5 of the widest
//! competes by the spread of the points. A search goes down the nearer side first. The order in which points are met
//! decides which of them are kept where their number is limited, so the partition of the points is the same too: two
//! passes from both ends, first by `<`, then by `<=`.

use super::Coordinate;
use std::ops::Range;

/// Points in a leaf, at most.
const LEAF: usize = 10;

pub(super) struct KdTree<'a, T> {
    values: &'a [T],
    dim: usize,
    /// The points, leaf by leaf.
    order: Vec<u32>,
    /// Their coordinates in this order, so that a leaf is read in one piece.
    rows: Vec<T>,
    nodes: Vec<Node<T>>,
    root: usize,
    /// Smallest and largest coordinate of all points, per dimension.
    bounds: Vec<(T, T)>,
}

enum Node<T> {
    Leaf(Range<usize>),
    /// The largest coordinate of the lower part and the smallest of the upper part along `axis`.
    Cut {
        axis: usize,
        low: T,
        high: T,
        lower: usize,
        upper: usize,
    },
}

/// What a search keeps of the points that it meets.
pub(super) trait Keep<T> {
    /// Only points nearer than this squared distance are offered.
    fn limit(&self) -> T;
    /// Takes a point; false ends the search.
    fn add(&mut self, distance: T, point: u32) -> bool;
}

fn lesser<T: PartialOrd>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

fn greater<T: PartialOrd>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

fn square<T: Coordinate>(a: T) -> T {
    a * a
}

impl<'a, T: Coordinate> KdTree<'a, T> {
    /// The tree of at least one point.
    pub fn new(values: &'a [T], dim: usize) -> Self {
        let count = values.len() / dim;
        let order = (0..count as u32).collect();
        let mut tree = KdTree { values, dim, order, rows: vec![], nodes: vec![], root: 0, bounds: vec![] };
        let mut bounds = tree.bounds_of(0..count);
        tree.root = tree.divide(0..count, &mut bounds);
        tree.bounds = bounds;
        tree.rows = tree.order.iter().flat_map(|&p| &values[p as usize * dim..][..dim]).copied().collect();
        tree
    }

    /// The points leaf by leaf: neighbours in space are neighbours in this order.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    fn at(&self, position: usize, axis: usize) -> T {
        self.values[self.order[position] as usize * self.dim + axis]
    }

    fn range_of(&self, points: Range<usize>, axis: usize) -> (T, T) {
        let first = self.at(points.start, axis);
        points.fold((first, first), |(low, high), p| {
            let v = self.at(p, axis);
            (lesser(low, v), greater(high, v))
        })
    }

    fn bounds_of(&self, points: Range<usize>) -> Vec<(T, T)> {
        (0..self.dim).map(|axis| self.range_of(points.clone(), axis)).collect()
    }

    /// Makes the node of these points; `cell` becomes their bounds.
    fn divide(&mut self, points: Range<usize>, cell: &mut Vec<(T, T)>) -> usize {
        if points.len() <= LEAF {
            *cell = self.bounds_of(points.clone());
            self.nodes.push(Node::Leaf(points));
            return self.nodes.len() - 1;
        }
        let (axis, value) = self.cut(points.clone(), cell);
        let middle = points.start + self.partition(points.clone(), axis, value);
        let (mut below, mut above) = (cell.clone(), cell.clone());
        below[axis].1 = value;
        above[axis].0 = value;
        let lower = self.divide(points.start..middle, &mut below);
        let upper = self.divide(middle..points.end, &mut above);
        for ((c, b), a) in cell.iter_mut().zip(&below).zip(&above) {
            *c = (lesser(b.0, a.0), greater(b.1, a.1));
        }
        self.nodes.push(Node::Cut { axis, low: below[axis].1, high: above[axis].0, lower, upper });
        self.nodes.len() - 1
    }

    /// Where to cut a cell: the axis and the coordinate.
    fn cut(&self, points: Range<usize>, cell: &[(T, T)]) -> (usize, T) {
        let side = |axis: usize| cell[axis].1 - cell[axis].0;
        let widest = (1..self.dim).fold(side(0), |widest, axis| greater(widest, side(axis)));
        let wide = (T::of(1.0) - T::of(1e-5)) * widest;
        let (mut best, mut spread) = (0, T::of(-1.0));
        for axis in (0..self.dim).filter(|axis| side(*axis) > wide) {
            let (low, high) = self.range_of(points.clone(), axis);
            if high - low > spread {
                (best, spread) = (axis, high - low);
            }
        }
        let (low, high) = self.range_of(points, best);
        let middle = (cell[best].0 + cell[best].1) / T::of(2.0);
        (best, if middle < low { low } else { lesser(middle, high) })
    }

    /// Brings points below the cut to the front and gives their number; points on the cut fill up the smaller part.
    fn partition(&mut self, points: Range<usize>, axis: usize, value: T) -> usize {
        let below = self.sweep(points.clone(), |v| v < value, axis);
        let upto = self.sweep_from(points.clone(), below, |v| v <= value, axis);
        (points.len() / 2).clamp(below, upto)
    }

    fn sweep(&mut self, points: Range<usize>, front: impl Fn(T) -> bool, axis: usize) -> usize {
        self.sweep_from(points, 0, front, axis)
    }

    /// Swaps from both ends, beginning `left` behind the front, until all points that belong to the front are there.
    fn sweep_from(
        &mut self,
        points: Range<usize>,
        mut left: usize,
        front: impl Fn(T) -> bool,
        axis: usize,
    ) -> usize {
        let start = points.start;
        let mut right = points.len() - 1;
        loop {
            while left <= right && front(self.at(start + left, axis)) {
                left += 1;
            }
            while right > 0 && left <= right && !front(self.at(start + right, axis)) {
                right -= 1;
            }
            if left > right || right == 0 {
                return left;
            }
            self.order.swap(start + left, start + right);
            left += 1;
            right -= 1;
        }
    }

    /// Offers to `keep` every point that may be near enough to `query`; `distances` is memory that is used again.
    pub fn search(&self, query: &[T], distances: &mut Vec<T>, keep: &mut impl Keep<T>) {
        // Per axis the squared distance from the query to the cell, and their sum.
        distances.clear();
        distances.resize(self.dim, T::of(0.0));
        let mut total = T::of(0.0);
        for ((d, &q), &(low, high)) in distances.iter_mut().zip(query).zip(&self.bounds) {
            if q < low {
                *d = square(q - low);
            } else if q > high {
                *d = square(q - high);
            }
            total = total + *d;
        }
        self.descend(self.root, query, total, distances, keep);
    }

    fn descend(
        &self,
        node: usize,
        query: &[T],
        total: T,
        distances: &mut [T],
        keep: &mut impl Keep<T>,
    ) -> bool {
        match &self.nodes[node] {
            Node::Leaf(points) => {
                // The limit at the beginning holds for the whole leaf.
                let limit = keep.limit();
                let rows = self.rows[points.start * self.dim..points.end * self.dim].chunks_exact(self.dim);
                self.order[points.clone()].iter().zip(rows).all(|(&point, row)| {
                    let distance = distance(query, row);
                    if distance < limit { keep.add(distance, point) } else { true }
                })
            }
            &Node::Cut { axis, low, high, lower, upper } => {
                let q = query[axis];
                let is_lower = (q - low) + (q - high) < T::of(0.0);
                let (near, far, cut) = if is_lower { (lower, upper, high) } else { (upper, lower, low) };
                if !self.descend(near, query, total, distances, keep) {
                    return false;
                }
                let (old, new) = (distances[axis], square(q - cut));
                let total = total + new - old;
                if total <= keep.limit() {
                    distances[axis] = new;
                    if !self.descend(far, query, total, distances, keep) {
                        return false;
                    }
                    distances[axis] = old;
                }
                true
            }
        }
    }
}

/// The squared distance, summed by fours.
fn distance<T: Coordinate>(query: &[T], row: &[T]) -> T {
    let mut sum = T::of(0.0);
    let (q4, q1) = query.as_chunks::<4>();
    let (r4, r1) = row.as_chunks::<4>();
    for (q, r) in q4.iter().zip(r4) {
        let four = square(q[0] - r[0]) + square(q[1] - r[1]);
        sum = sum + ((four + square(q[2] - r[2])) + square(q[3] - r[3]));
    }
    q1.iter().zip(r1).fold(sum, |sum, (&q, &r)| sum + square(q - r))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Within(f32, Vec<u32>);

    impl Keep<f32> for Within {
        fn limit(&self) -> f32 {
            self.0
        }

        fn add(&mut self, _: f32, point: u32) -> bool {
            self.1.push(point);
            true
        }
    }

    proptest! {
        /// Coordinates on a coarse grid, so that points coincide and lie on cuts.
        #[test]
        fn a_search_meets_every_point_within_the_limit(
            dim in 1usize..6, grid in proptest::collection::vec(-6i32..6, 1..400), r in 0.0f32..8.0
        ) {
            let count = grid.len() / dim;
            prop_assume!(count > 0);
            let values: Vec<f32> = grid[..count * dim].iter().map(|v| *v as f32 * 0.5).collect();
            let tree = KdTree::new(&values, dim);
            let mut all = tree.order.clone();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count as u32).collect::<Vec<_>>());
            for query in values.chunks(dim).take(20).chain([&vec![9.0; dim][..]]) {
                let mut keep = Within(r, vec![]);
                tree.search(query, &mut vec![], &mut keep);
                keep.1.sort_unstable();
                let near = |p: &u32| distance(query, &values[*p as usize * dim..][..dim]) < r;
                prop_assert_eq!(keep.1, (0..count as u32).filter(near).collect::<Vec<_>>());
            }
        }
    }
}
