//! Places for the nodes of a graph: columns from left to right, so that every
//! edge goes to the right, and in each column an order with few crossings.
//! Edges over several columns get a free way through those between.

use std::collections::BTreeMap;

/// How often the order of all columns is improved.
const SWEEPS: usize = 8;
/// Ways through columns at most; longer edges go straight after that.
const MAX_WAYS: usize = 20_000;

/// Where everything is. Rows are in units of one row; columns are counted from
/// the left.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// By node: column and row.
    pub(super) places: Vec<(usize, f64)>,
    /// By edge: column and row of each point on its way, without its ends.
    pub(super) ways: Vec<Vec<(usize, f64)>>,
    /// Rows of the highest column.
    pub(super) rows: f64,
    /// Number of columns.
    pub(super) columns: usize,
}

/// Lays out nodes `0..count` with edges from, to. Edges of a circle are treated
/// as if they were not there.
pub(super) fn layout(count: usize, edges: &[(usize, usize)]) -> Layout {
    let column = columns(count, edges);
    let width = column.iter().max().map_or(0, |most| most + 1);
    // Nodes and, behind them, the points on the way of long edges.
    let mut cells: Vec<usize> = column.clone();
    let mut links: Vec<(usize, usize)> = Vec::new();
    let mut ways: Vec<Vec<usize>> = Vec::new();
    for &(from, to) in edges {
        let mut way = Vec::new();
        let mut last = from;
        let free = cells.len() - count < MAX_WAYS;
        for between in (column[from] + 1..column[to]).filter(|_| free) {
            cells.push(between);
            way.push(cells.len() - 1);
            links.push((last, cells.len() - 1));
            last = cells.len() - 1;
        }
        if column[from] < column[to] {
            links.push((last, to));
        }
        ways.push(way);
    }
    let order = order(&cells, width, &links);
    let rows = rows(&order, cells.len(), &links);
    let place = |cell: usize| (cells[cell], rows[cell]);
    Layout {
        places: (0..count).map(place).collect(),
        ways: ways
            .iter()
            .map(|way| way.iter().map(|cell| place(*cell)).collect())
            .collect(),
        rows: rows.iter().fold(0.0, |most, row| row.max(most)) + 1.0,
        columns: width,
    }
}

/// The longest way to each node.
fn columns(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut column = vec![0; count];
    let mut open = vec![0usize; count];
    let mut after: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(from, to) in edges {
        open[to] += 1;
        after.entry(from).or_default().push(to);
    }
    let mut ready: Vec<usize> = (0..count).filter(|node| open[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for &next in after.get(&node).into_iter().flatten() {
            column[next] = column[next].max(column[node] + 1);
            open[next] -= 1;
            if open[next] == 0 {
                ready.push(next);
            }
        }
    }
    column
}

/// The cells of each column in order: each goes to the middle of its
/// neighbours, from the left and from the right in turn.
fn order(cells: &[usize], width: usize, links: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); width];
    for (cell, column) in cells.iter().enumerate() {
        order[*column].push(cell);
    }
    let (left, right) = neighbours(cells.len(), links);
    for sweep in 0..SWEEPS {
        let mut row = vec![0.0; cells.len()];
        for column in &order {
            for (i, cell) in column.iter().enumerate() {
                row[*cell] = i as f64;
            }
        }
        let forward = sweep % 2 == 0;
        let beside = if forward { &left } else { &right };
        let mut sort = |column: &mut Vec<usize>| {
            let mut keyed: Vec<(f64, usize)> = column
                .iter()
                .map(|cell| (mean(&beside[*cell], &row).unwrap_or(row[*cell]), *cell))
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *column = keyed.iter().map(|(_, cell)| *cell).collect();
            for (i, cell) in column.iter().enumerate() {
                row[*cell] = i as f64;
            }
        };
        if forward {
            order.iter_mut().for_each(&mut sort);
        } else {
            order.iter_mut().rev().for_each(&mut sort);
        }
    }
    order
}

type Neighbours = Vec<Vec<usize>>;

fn neighbours(count: usize, links: &[(usize, usize)]) -> (Neighbours, Neighbours) {
    let (mut left, mut right) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for &(from, to) in links {
        left[to].push(from);
        right[from].push(to);
    }
    (left, right)
}

fn mean(cells: &[usize], row: &[f64]) -> Option<f64> {
    if cells.is_empty() {
        return None;
    }
    Some(cells.iter().map(|cell| row[*cell]).sum::<f64>() / cells.len() as f64)
}

/// A row for each cell, at least one apart within a column, near its neighbours.
fn rows(order: &[Vec<usize>], count: usize, links: &[(usize, usize)]) -> Vec<f64> {
    let (left, right) = neighbours(count, links);
    let mut row = vec![0.0; count];
    let tallest = order.iter().map(Vec::len).max().unwrap_or(0) as f64;
    for column in order {
        let top = (tallest - column.len() as f64) / 2.0;
        for (i, cell) in column.iter().enumerate() {
            row[*cell] = top + i as f64;
        }
    }
    for sweep in 0..SWEEPS {
        let beside = if sweep % 2 == 0 { &left } else { &right };
        for column in order {
            let wanted: Vec<f64> = column
                .iter()
                .map(|cell| mean(&beside[*cell], &row).unwrap_or(row[*cell]))
                .collect();
            for (cell, at) in column.iter().zip(apart(&wanted)) {
                row[*cell] = at;
            }
        }
    }
    let least = row.iter().copied().fold(f64::INFINITY, f64::min);
    if least.is_finite() {
        row.iter_mut().for_each(|at| *at -= least);
    }
    row
}

/// The places nearest to the wanted ones, in the same order, at least one apart:
/// those that get into each other's way form a block around their middle.
fn apart(wanted: &[f64]) -> Vec<f64> {
    // Blocks: sum of (wanted - offset in the block), number of members.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for at in wanted {
        let mut block = (*at, 1usize);
        while let Some(&(sum, size)) = blocks.last() {
            if sum / size as f64 + size as f64 <= block.0 / block.1 as f64 {
                break;
            }
            blocks.pop();
            block = (sum + block.0 - (size * block.1) as f64, size + block.1);
        }
        blocks.push(block);
    }
    let place = |(sum, size): &(f64, usize)| {
        let first = sum / *size as f64;
        (0..*size)
            .map(move |i| first + i as f64)
            .collect::<Vec<_>>()
    };
    blocks.iter().flat_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::{apart, layout};

    #[test]
    fn edges_go_to_the_right_and_nothing_overlaps() {
        let edges = [(0, 1), (1, 2), (0, 2), (3, 2), (0, 4), (4, 2), (5, 5)];
        let found = layout(6, &edges);
        for (from, to) in &edges[..6] {
            assert!(found.places[*from].0 < found.places[*to].0);
        }
        assert_eq!(
            found.ways[2].len(),
            1,
            "an edge over a column has a way through"
        );
        let mut all: Vec<_> = found
            .places
            .iter()
            .chain(found.ways.iter().flatten())
            .copied()
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for pair in all.windows(2) {
            assert!(
                pair[0].0 != pair[1].0 || pair[1].1 - pair[0].1 > 0.99,
                "{all:?}"
            );
        }
        assert!(
            all.iter()
                .all(|place| place.1 >= 0.0 && place.1 < found.rows)
        );
    }

    #[test]
    fn what_is_apart_stays() {
        assert_eq!(apart(&[0.0, 5.0]), [0.0, 5.0]);
        assert_eq!(apart(&[1.0, 1.0, 1.0]), [0.0, 1.0, 2.0]);
        assert_eq!(layout(0, &[]).columns, 0);
    }
}
